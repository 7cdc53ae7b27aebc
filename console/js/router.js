// SPDX-License-Identifier: BSD-3-Clause
// Addresses behind the #: /products/lamp/devices?version=0.0.1

export function link(path, query = {}) {
    const parts = path.map((part) => encodeURIComponent(part));
    const wanted = Object.entries(query).filter(
        ([, value]) => value !== undefined && value !== null && value !== '',
    );
    const text = new URLSearchParams(wanted).toString();
    return `#/${parts.join('/')}${text ? `?${text}` : ''}`;
}

function decode(part) {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}

export function here() {
    const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
    return {
        path: path.split('/').filter(Boolean).map(decode),
        query: Object.fromEntries(new URLSearchParams(query ?? '')),
    };
}

export function go(path, query) {
    location.hash = link(path, query);
}

// Another query without a new entry in the history and without a new page.
export function replaceQuery(query) {
    history.replaceState(null, '', link(here().path, query));
}

// [['products', ':product', 'devices'], view] rows; the first that fits.
export function match(routes, path) {
    for (const [pattern, view] of routes) {
        const params = {};
        const fits =
            pattern.length === path.length &&
            pattern.every((part, i) => {
                if (part.startsWith(':')) {
                    params[part.slice(1)] = path[i];
                    return true;
                }
                return part === path[i];
            });
        if (fits) {
            return {view, params};
        }
    }
    return null;
}
