// SPDX-License-Identifier: BSD-3-Clause
// Short messages at the edge; read out politely, errors at once.
import {h} from '../dom.js';
import {isAbort} from '../api.js';
import {t} from '../text.js';
import {icon} from './icon.js';
import {iconButton} from './icon_button.js';

const STAY_MS = 6000;
const ICONS = {good: 'check', bad: 'alert'};

const polite = h('div.toasts-live', {role: 'status', 'aria-live': 'polite'});
const loud = h('div.toasts-live', {role: 'alert', 'aria-live': 'assertive'});
export const toasts = h('div.toasts', polite, loud);

function add(kind, text) {
    const node = h(
        `div.toast.${kind}`,
        icon(ICONS[kind]),
        h('p', text),
        iconButton({name: 'close', label: t('dismiss'), click: () => node.remove()}),
    );
    (kind === 'bad' ? loud : polite).append(node);
    if (kind !== 'bad') {
        setTimeout(() => node.remove(), STAY_MS);
    }
}

// An open dialog covers everything else: the messages move into it.
export function placeToasts() {
    const open = [...document.querySelectorAll('dialog[open]')].pop();
    const place = open ?? document.body;
    if (toasts.parentElement !== place) {
        place.append(toasts);
    }
}

export function done(text) {
    placeToasts();
    add('good', text);
}

export function failed(error) {
    if (!isAbort(error)) {
        placeToasts();
        add('bad', error.message);
    }
}
