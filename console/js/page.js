// SPDX-License-Identifier: BSD-3-Clause
// What a view gets: a place to draw in, a signal that ends with it, and data that stays fresh.
import {fill, h} from './dom.js';
import {isAbort, isBusy, isLost} from './api.js';
import {onLive} from './live.js';
import {t} from './text.js';
import {skeleton, trouble} from './components/empty.js';

// Between two looks, however much happens: more where a look is dear to the server.
const CALM_MS = {least: 1500, most: 30000, factor: 5};

export function newPage(place) {
    const ending = new AbortController();
    return {
        place,
        signal: ending.signal,
        get ended() {
            return ending.signal.aborted;
        },
        end: () => ending.abort(),
    };
}

// Loads now, and again when something happens that it wants.
//   load(signal) → data; show(data); wants(event) → bool; patch(event): changes what is shown at
//   once, and says whether that was enough; place: where a first load's trouble is shown.
export function watch(page, {load, show, wants, patch, place}) {
    let run = 0;
    let shown = false;
    let last = 0;
    let calm = CALM_MS.least;
    let timer = null;
    let loading = null;

    async function reload() {
        run += 1;
        const mine = run;
        const began = Date.now();
        loading?.abort();
        const ending = new AbortController();
        loading = ending;
        page.signal.addEventListener('abort', () => ending.abort(), {signal: ending.signal});
        try {
            const data = await load(ending.signal);
            if (mine === run && !page.ended) {
                shown = true;
                show(data);
            }
        } catch (error) {
            if (mine === run && !page.ended && !isAbort(error)) {
                complain(error);
            }
        } finally {
            if (mine === run) {
                last = Date.now();
                calm = Math.min(
                    CALM_MS.most,
                    Math.max(CALM_MS.least, (last - began) * CALM_MS.factor),
                );
                loading = null;
            }
        }
    }

    // What was shown may stay where the trouble passes: the banner tells of a lost connection, a
    // busy server is asked again.
    function complain(error) {
        if (shown && isBusy(error)) {
            soon();
            return;
        }
        if (!shown || !isLost(error)) {
            shown = false;
            fill(
                place,
                trouble(error, () => {
                    fill(place, skeleton());
                    reload();
                }),
            );
        }
    }

    function soon() {
        timer ??= setTimeout(
            () => {
                timer = null;
                if (loading) {
                    soon();
                } else if (!page.ended) {
                    reload();
                }
            },
            Math.max(100, last + calm - Date.now()),
        );
    }

    function hear({events, fresh}) {
        const news = events.filter((event) => wants?.(event));
        const left = news.filter((event) => !patch?.(event));
        if (fresh || left.length > 0) {
            soon();
        }
    }

    fill(place, skeleton());
    if (wants) {
        onLive(hear, page.signal);
    } else {
        onLive(({fresh}) => fresh && soon(), page.signal);
    }
    reload();
    return {reload, soon};
}

// The head of a page: where one is, its name, what can be done.
export function heading({title, crumbs = [], actions = [], after}) {
    document.title = `${title} · mosquitto-ota`;
    return h(
        'header.page-head',
        crumbs.length > 0 &&
            h(
                'nav.crumbs',
                {'aria-label': t('crumbs')},
                h(
                    'ol',
                    crumbs.map(([text, href]) => h('li', h('a', {href}, text))),
                ),
            ),
        h('div.page-title', h('h1', {tabindex: '-1'}, title), after),
        h('div.actions', actions),
    );
}
