// SPDX-License-Identifier: BSD-3-Clause
// Numbers, sizes and times as people read them.
import {locale, t} from './text.js';
import {h} from './dom.js';

const numbers = new Intl.NumberFormat(locale);
const percents = new Intl.NumberFormat(locale, {style: 'percent', maximumFractionDigits: 1});
const moments = new Intl.DateTimeFormat(locale, {dateStyle: 'medium', timeStyle: 'medium'});
const days = new Intl.DateTimeFormat(locale, {
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
});
const clocks = new Intl.DateTimeFormat(locale, {timeStyle: 'medium'});
const distances = new Intl.RelativeTimeFormat(locale, {numeric: 'auto', style: 'short'});
const SIZES = ['B', 'KB', 'MB', 'GB', 'TB'];
const STEPS = [
    ['day', 86400],
    ['hour', 3600],
    ['minute', 60],
    ['second', 1],
];

export const number = (n) => numbers.format(n);
export const share = (part, whole) => (whole > 0 ? percents.format(part / whole) : '–');

export function bytes(n) {
    let step = 0;
    let rest = n;
    while (rest >= 1024 && step + 1 < SIZES.length) {
        rest /= 1024;
        step += 1;
    }
    const precision = step === 0 || rest >= 100 ? 1 : 10;
    return `${numbers.format(Math.round(rest * precision) / precision)} ${SIZES[step]}`;
}

// 5400 → "1 h 30 min"
export function duration(seconds) {
    const parts = [];
    let rest = Math.max(0, Math.round(seconds));
    for (const [name, size] of STEPS) {
        const count = Math.floor(rest / size);
        if (count > 0 && parts.length < 2) {
            parts.push(t(`unit.${name}`, {n: count}));
        }
        rest -= count * size;
    }
    return parts.length ? parts.join(' ') : t('unit.second', {n: 0});
}

// Milliseconds between two happenings.
export const span = (ms) => (ms < 1000 ? t('unit.ms', {n: ms}) : duration(ms / 1000));

function relative(ms) {
    const seconds = (ms - Date.now()) / 1000;
    const [name, size] = STEPS.find(([, step]) => Math.abs(seconds) >= step) ?? ['second', 1];
    return name === 'day' && Math.abs(seconds) > 7 * 86400
        ? days.format(ms)
        : distances.format(Math.trunc(seconds / size), name);
}

export const moment = (ms) => moments.format(ms);
export const clock = (ms) => clocks.format(ms);
export const day = (ms) => days.format(ms);

// A <time> that says how long ago, with the moment itself as its title; keeps itself true.
export function ago(ms) {
    if (!ms) {
        return h('span.faint', '–');
    }
    return h(
        'time',
        {datetime: new Date(ms).toISOString(), title: moment(ms), data: {at: ms}},
        relative(ms),
    );
}

setInterval(() => {
    document.querySelectorAll('time[data-at]').forEach((node) => {
        const text = relative(Number(node.dataset.at));
        if (node.textContent !== text) {
            node.textContent = text;
        }
    });
}, 10000);
