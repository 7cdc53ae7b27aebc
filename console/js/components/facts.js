// SPDX-License-Identifier: BSD-3-Clause
// Names and values.
import {h} from '../dom.js';

export function facts(rows) {
    return h(
        'dl.facts',
        rows.filter(Boolean).map(([name, ...value]) => h('div', h('dt', name), h('dd', value))),
    );
}
