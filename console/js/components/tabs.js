// SPDX-License-Identifier: BSD-3-Clause
// Tabs that are addresses: links, with the present one marked.
import {h} from '../dom.js';

// items: [[name, label, href]]
export function tabs(label, items, current) {
    return h(
        'nav.tabs',
        {'aria-label': label},
        h(
            'ul',
            items.map(([name, words, href]) =>
                h(
                    'li',
                    h('a', {href, 'aria-current': name === current ? 'page' : undefined}, words),
                ),
            ),
        ),
    );
}
