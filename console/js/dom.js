// SPDX-License-Identifier: BSD-3-Clause
// The only place that makes elements. What comes from devices and people becomes text nodes and
// attribute values, never markup: there is no way to write HTML, a script or a foreign link.

const SVG = 'http://www.w3.org/2000/svg';
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'selected', 'hidden', 'readOnly']);
const ATTRIBUTES = new RegExp(
    '^(aria-[a-z]+|role|id|for|name|type|href|title|tabindex|placeholder|min|max|step|rows|' +
        'maxlength|autocomplete|autofocus|required|multiple|accept|scope|colspan|list|pattern|' +
        'inputmode|spellcheck|datetime|open|label|method|novalidate|autocapitalize|lang)$',
);
const SHAPES =
    /^(viewBox|d|fill|stroke|stroke-width|stroke-linecap|stroke-linejoin|x|y|x1|x2|y1|y2|width|height|rx|r|cx|cy|points|transform|aria-hidden|focusable|role|aria-label|pathLength|stroke-dasharray|stroke-dashoffset)$/;

function setAttribute(node, name, value, allowed) {
    if (!allowed.test(name)) {
        throw new Error(`h() doesn't set ${name}`);
    }
    if (name === 'href' && !String(value).startsWith('#')) {
        throw new Error('links stay inside this page');
    }
    node.setAttribute(name, value === true ? '' : value);
}

function setProp(node, name, value) {
    if (value === undefined || value === null || (value === false && !PROPERTIES.has(name))) {
        return;
    }
    if (name === 'on') {
        Object.entries(value).forEach(([type, listener]) => node.addEventListener(type, listener));
    } else if (name === 'class') {
        node.classList.add(...value.split(' ').filter(Boolean));
    } else if (name === 'data') {
        Object.assign(node.dataset, value);
    } else if (name === 'vars') {
        Object.entries(value).forEach(([key, v]) => node.style.setProperty(`--${key}`, v));
    } else if (PROPERTIES.has(name)) {
        node[name] = value;
    } else {
        setAttribute(node, name, value, ATTRIBUTES);
    }
}

function isProps(thing) {
    return (
        thing !== null &&
        typeof thing === 'object' &&
        !Array.isArray(thing) &&
        !(thing instanceof Node)
    );
}

function flatten(children) {
    return children
        .flat(Infinity)
        .filter((child) => child !== null && child !== undefined && child !== false);
}

// h('button.primary', {on: {click}}, 'text', node, [more]): tag, classes, properties, children.
export function h(tag, ...rest) {
    const [name, ...classes] = tag.split('.');
    const node = document.createElement(name);
    const props = isProps(rest[0]) ? rest.shift() : {};
    node.classList.add(...classes);
    node.append(...flatten(rest));
    Object.entries(props).forEach(([key, value]) => setProp(node, key, value));
    return node;
}

export function svg(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    Object.entries(attributes).forEach(([key, value]) => setAttribute(node, key, value, SHAPES));
    node.append(...flatten(children));
    return node;
}

export function fill(node, ...children) {
    node.replaceChildren(...flatten(children));
    return node;
}

let ids = 0;
export function newId(prefix = 'x') {
    ids += 1;
    return `${prefix}${ids}`;
}

// What the keyboard reaches, in order.
export function focusables(root) {
    return [
        ...root.querySelectorAll(
            'a[href], button:not([disabled]), input:not([disabled]), select, textarea, [tabindex="0"]',
        ),
    ];
}
