// SPDX-License-Identifier: BSD-3-Clause
// Statuses, in the seed's words: colour, sign and word, so that no one of them has to be seen.
import {h} from '../dom.js';
import {t, word} from '../text.js';
import {icon} from './icon.js';

export const STATUSES = [
    'device_offline',
    'task_waiting',
    'message_sent',
    'downloading',
    'downloaded',
    'upgrading',
    'failed',
    'succeeded',
    'cancelled',
];
export const FINAL = new Set(['failed', 'succeeded', 'cancelled']);
export const UNDER_WAY = new Set(['message_sent', 'downloading', 'downloaded', 'upgrading']);

export const statusBadge = (status) => h(`span.badge.s-${status}`, word('status', status));
export const stateBadge = (state) => h(`span.badge.b-${state}`, word('state', state));

export function onlineMark(online) {
    return h(
        `span.presence.${online ? 'on' : 'off'}`,
        t(online ? 'device.online' : 'device.offline'),
    );
}

const CONFIRMATIONS = {pending: 'clock', confirmed: 'check', contradicted: 'alert'};

export function confirmation(name) {
    return (
        name &&
        h(
            `span.confirmation.c-${name}`,
            {title: word('confirmation.help', name)},
            icon(CONFIRMATIONS[name] ?? 'info'),
            word('confirmation', name),
        )
    );
}

export function signedMark(signed) {
    return signed
        ? h(
              'span.tag.good',
              {title: t('firmware.signed.help')},
              icon('signed'),
              t('firmware.signed'),
          )
        : h('span.tag.faint', {title: t('firmware.unsigned.help')}, t('firmware.unsigned'));
}

export const tags = (list) =>
    h(
        'span.tags',
        list.map((tag) => h('span.tag', tag)),
    );
