// SPDX-License-Identifier: BSD-3-Clause
// The running service: what it is, how much it has, what it warns of.
import {fill, h} from '../dom.js';
import {ago, bytes, number} from '../format.js';
import {infoOf} from '../fleet.js';
import {heading, watch} from '../page.js';
import {call} from '../api.js';
import {can} from '../session.js';
import {t, word} from '../text.js';
import {confirmDialog} from '../components/dialog.js';
import {facts} from '../components/facts.js';
import {notice} from '../components/empty.js';
import {done} from '../components/toast.js';

function backup() {
    confirmDialog({
        title: t('backup.title'),
        text: t('backup.text'),
        action: t('backup.action'),
        kind: 'primary',
        submit: async () => {
            const {path, bytes: size} = await call('backup', {});
            done(t('backup.done', {path, size: bytes(size)}));
        },
    });
}

function tile(words, value, more) {
    return h('div.card.tile', h('p.faint', words), h('p.big', value), more && h('p.faint', more));
}

function show(info) {
    const refused = Object.entries(info.refusedReports ?? {});
    return [
        (info.warnings ?? []).map((sentence) => notice('warn', sentence)),
        h(
            'div.tiles',
            tile(t('system.devices'), number(info.devices), t('system.online', {n: info.online})),
            tile(t('system.tasks'), number(info.activeTasks)),
            tile(t('system.notices'), number(info.notices), t('system.since_start')),
            tile(
                t('system.downloads'),
                info.downloads ? bytes(info.downloads.bytes) : t('system.off'),
                info.downloads && t('system.requests', {n: info.downloads.requests}),
            ),
        ),
        h(
            'section.card',
            h('h2', t('details')),
            facts([
                [t('system.version'), info.version],
                [t('system.broker'), info.brokerVersion],
                [t('system.started'), ago(info.startedAt)],
                [t('system.database'), bytes(info.databaseBytes)],
                [t('system.reports'), number(info.reports)],
                [
                    t('system.refused'),
                    refused.length
                        ? refused
                              .map(([reason, n]) => `${word('refusal', reason)}: ${number(n)}`)
                              .join(', ')
                        : t('none'),
                ],
                [
                    t('system.keys'),
                    info.signingKeys?.length
                        ? info.signingKeys.map((key) => h('code', key))
                        : t('none'),
                ],
                [t('system.require'), info.requireSignature ? t('yes') : t('no')],
            ]),
        ),
    ];
}

export function systemView(page) {
    const body = h('div');
    fill(
        page.place,
        heading({
            title: t('nav.system'),
            actions: [
                can('backup') &&
                    h('button', {type: 'button', on: {click: backup}}, t('backup.action')),
            ],
        }),
        body,
    );
    watch(page, {
        place: body,
        load: infoOf,
        show: (info) => fill(body, show(info)),
        wants: () => true,
    });
}
