// SPDX-License-Identifier: BSD-3-Clause
// Progress, and shares of a whole. The numbers stand in the label: a bar alone says nothing to a
// screen reader.
import {h} from '../dom.js';
import {share} from '../format.js';
import {t, word} from '../text.js';
import {STATUSES} from './badge.js';

// From done to not begun: the bar fills from the left.
const ORDER = [
    'succeeded',
    'failed',
    'upgrading',
    'downloaded',
    'downloading',
    'message_sent',
    'task_waiting',
    'device_offline',
    'cancelled',
];

export function progress(percent, label, kind = '') {
    return h(
        `div.progress${kind && `.${kind}`}`,
        {
            role: 'progressbar',
            'aria-valuemin': '0',
            'aria-valuemax': '100',
            'aria-valuenow': String(Math.round(percent)),
            'aria-label': label,
        },
        h('i', {vars: {part: `${percent}%`}}),
    );
}

const presentIn = (counts, order) => order.filter((status) => (counts[status] ?? 0) > 0);

function describe(counts) {
    return (
        presentIn(counts, ORDER)
            .map((status) => `${word('status', status)}: ${counts[status]}`)
            .join(', ') || t('bar.nothing')
    );
}

// {status: n} as one bar.
export function statusBar(counts, total) {
    const sum = total || ORDER.reduce((all, status) => all + (counts[status] ?? 0), 0);
    return h(
        'div.stack',
        {role: 'img', 'aria-label': describe(counts)},
        presentIn(counts, ORDER).map((status) =>
            h(`i.s-${status}`, {
                title: `${word('status', status)}: ${counts[status]}`,
                vars: {part: `${(counts[status] / sum) * 100}%`},
            }),
        ),
    );
}

// What the colours of a bar mean, with numbers.
export function legend(counts, total) {
    return h(
        'ul.legend',
        presentIn(counts, STATUSES).map((status) =>
            h(
                `li.s-${status}`,
                h('b', t('n', {n: counts[status]})),
                ' ',
                word('status', status),
                ' ',
                h('span.faint', share(counts[status], total)),
            ),
        ),
    );
}
