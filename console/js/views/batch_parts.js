// SPDX-License-Identifier: BSD-3-Clause
// What a batch is in words, and what can be done with it.
import {h} from '../dom.js';
import {call} from '../api.js';
import {duration, number, share} from '../format.js';
import {can} from '../session.js';
import {t, word} from '../text.js';
import {stateBadge} from '../components/badge.js';
import {confirmDialog, formDialog} from '../components/dialog.js';
import {momentField, numberField, optional, radioField, textField} from '../components/field.js';
import {icon} from '../components/icon.js';
import {done, failed} from '../components/toast.js';
import {addDevices} from './draft.js';

const OVER = new Set(['cancelled', 'finished']);
const WAITING = ['device_offline', 'task_waiting'];
const RUNNING = ['message_sent', 'downloading', 'downloaded', 'upgrading'];

const sum = (counts, names) => names.reduce((all, name) => all + (counts[name] ?? 0), 0);
export const waitingOf = (batch) => sum(batch.counts, WAITING);
export const runningOf = (batch) => sum(batch.counts, RUNNING);
export const endedOf = (batch) => batch.total - waitingOf(batch) - runningOf(batch);
export const failedOf = (batch) => (batch.counts.failed ?? 0) + batch.contradicted;
export const isOver = (batch) => OVER.has(batch.state);

export function openStage(batch) {
    return batch.stages.reduce((open, stage, i) => (stage.state === 'waiting' ? open : i + 1), 0);
}

export function stateOf(batch) {
    return h(
        'span.state',
        stateBadge(batch.state),
        batch.stateReason && h('span.faint', ` ${word('reason', batch.stateReason)}`),
    );
}

// What to do next, where there is something to do.
export function advice(batch) {
    const open = openStage(batch);
    const stage = batch.stages[open - 1];
    if (batch.state === 'paused') {
        return word('advice.paused', batch.stateReason ?? 'admin');
    }
    if (
        batch.state === 'running' &&
        open > 0 &&
        open < batch.stages.length &&
        stage.advance === 'manual' &&
        stage.successes >= stage.needed
    ) {
        return t('advice.manual', {n: open, next: open + 1});
    }
    if (batch.state === 'finished' && batch.counts.failed > 0) {
        return t('advice.failed', {n: batch.counts.failed});
    }
    return batch.state === 'draft' ? t('advice.draft') : '';
}

export function targetWords(batch) {
    const target = batch.target ?? {};
    const parts = [
        target.all && t('target.all'),
        target.fromVersions && t('target.from', {versions: target.fromVersions.join(', ')}),
        target.notVersions && t('target.not', {versions: target.notVersions.join(', ')}),
        (target.devices || batch.named) && t('target.named'),
        target.tags && t('target.tags', {tags: target.tags.join(', ')}),
        target.online !== undefined && t(target.online ? 'target.online' : 'target.offline'),
    ].filter(Boolean);
    return parts.join(', ') || t('target.none');
}

export const reach = (stage) =>
    stage.count ? t('stage.count', {n: stage.count}) : t('stage.percent', {n: stage.percent});

// "90 % must succeed; watched for 2 h; the next one opens by itself"
export function gateWords(stage, last) {
    if (last) {
        return t('stage.last');
    }
    return [
        t('stage.min', {n: stage.minSuccessPercent ?? 90}),
        stage.soakSeconds > 0 && t('stage.soak', {time: duration(stage.soakSeconds)}),
        t(stage.advance === 'manual' ? 'stage.manual' : 'stage.auto'),
    ]
        .filter(Boolean)
        .join('; ');
}

// --- actions --------------------------------------------------------------------------------------

function act(command, batch, words, changed) {
    return async () => {
        try {
            await call(command, {batch: batch.batch});
            done(words);
            changed();
        } catch (error) {
            failed(error);
        }
    };
}

// vars(batch): worded when it is asked, with the numbers of then.
function confirmAct(command, batch, name, vars, changed, kind = 'primary') {
    return () =>
        confirmDialog({
            title: t(`${name}.title`, {batch: String(batch.batch)}),
            text: t(`${name}.text`, vars(batch)),
            action: t(name),
            kind,
            submit: async () => {
                await call(command, {batch: batch.batch});
                done(t(`${name}.done`, {batch: String(batch.batch)}));
                changed();
            },
        });
}

function cancel(batch, changed) {
    const running = runningOf(batch);
    const also = radioField({
        legend: t('batch.cancel.running', {n: running}),
        value: 'finish',
        options: [
            ['finish', t('batch.cancel.finish'), t('batch.cancel.finish.help')],
            ['cancel', t('batch.cancel.cancel'), t('batch.cancel.cancel.help')],
        ],
    });
    formDialog({
        title: t('batch.cancel.title', {batch: String(batch.batch)}),
        action: t('batch.cancel'),
        kind: 'danger',
        content: [
            h('p', t('batch.cancel.text', {n: waitingOf(batch), version: batch.version})),
            running > 0 && also.node,
        ],
        submit: async () => {
            await call('cancelBatch', {
                batch: batch.batch,
                ...(running > 0 ? {running: also.value} : {}),
            });
            done(t('batch.cancel.done', {batch: String(batch.batch)}));
            changed();
        },
    });
}

function edit(batch, changed) {
    const threshold = batch.failureThreshold;
    const fields = {
        name: textField({label: optional(t('batch.name')), value: batch.name, maxlength: '256'}),
        ratePerMinute: numberField({
            label: optional(t('batch.rate')),
            hint: t('batch.rate.help'),
            value: batch.ratePerMinute ?? '',
            min: 1,
            unit: t('per_minute'),
        }),
        maxInFlight: numberField({
            label: t('batch.in_flight'),
            hint: t('batch.in_flight.help'),
            value: batch.maxInFlight,
            min: 1,
        }),
        percent: numberField({
            label: optional(t('batch.threshold.percent')),
            value: threshold?.percent ?? '',
            min: 1,
            max: 100,
            unit: '%',
        }),
        minFinished: numberField({
            label: t('batch.threshold.min'),
            value: threshold?.minFinished ?? 20,
            min: 1,
        }),
        expireAt: momentField({
            label: optional(t('batch.expire')),
            hint: t('batch.expire.help'),
            value: batch.expireAt,
        }),
    };
    formDialog({
        title: t('batch.edit.title', {batch: String(batch.batch)}),
        action: t('save'),
        fields,
        content: Object.values(fields).map(({node}) => node),
        submit: async () => {
            await call('updateBatch', {
                batch: batch.batch,
                name: fields.name.value,
                maxInFlight: fields.maxInFlight.number,
                ...(fields.ratePerMinute.number && {ratePerMinute: fields.ratePerMinute.number}),
                ...(fields.percent.number && {
                    failureThreshold: {
                        percent: fields.percent.number,
                        minFinished: fields.minFinished.number || 1,
                    },
                }),
                ...(fields.expireAt.moment && {expireAt: fields.expireAt.moment}),
            });
            done(t('saved'));
            changed();
        },
    });
}

function button(words, sign, click, kind = '') {
    return h(`button${kind}`, {type: 'button', on: {click}}, icon(sign), words);
}

// The buttons that make sense now, for who may use them.
export function batchActions(batch, changed) {
    if (!can('pauseBatch')) {
        return [];
    }
    const open = openStage(batch);
    const next = batch.stages[open];
    const n = String(batch.batch);
    const goes = batch.state === 'running' || batch.state === 'paused';
    return [
        batch.state === 'running' &&
            button(
                t('batch.pause'),
                'pause',
                act('pauseBatch', batch, t('batch.pause.done', {batch: n}), changed),
            ),
        batch.state === 'paused' &&
            button(
                t('batch.resume'),
                'play',
                confirmAct(
                    'resumeBatch',
                    batch,
                    'batch.resume',
                    (now) => ({n: waitingOf(now)}),
                    changed,
                ),
                '.primary',
            ),
        batch.state === 'draft' &&
            button(t('draft.add'), 'plus', () => addDevices(batch, changed)),
        batch.state === 'draft' &&
            button(
                t('batch.start'),
                'play',
                act('startBatch', batch, t('batch.start.done', {batch: n}), changed),
                '.primary',
            ),
        goes &&
            next &&
            button(
                t('batch.advance'),
                'next',
                confirmAct(
                    'advanceBatch',
                    batch,
                    'batch.advance',
                    (now) => ({n: now.stages[open].total, stage: open + 1}),
                    changed,
                ),
            ),
        (goes || batch.state === 'finished') &&
            batch.counts.failed > 0 &&
            button(
                t('batch.retry'),
                'retry',
                confirmAct(
                    'retryBatch',
                    batch,
                    'batch.retry',
                    (now) => ({n: now.counts.failed, version: now.version}),
                    changed,
                ),
            ),
        !isOver(batch) && button(t('batch.edit'), 'edit', () => edit(batch, changed)),
        !isOver(batch) &&
            button(t('batch.cancel'), 'stop', () => cancel(batch, changed), '.danger-quiet'),
    ];
}

// --- settings in words ----------------------------------------------------------------------------

export function settingsOf(batch) {
    const {failureThreshold: threshold, retry} = batch;
    return [
        [t('batch.which'), targetWords(batch)],
        [
            t('batch.pace'),
            batch.ratePerMinute
                ? t('batch.pace.some', {n: batch.ratePerMinute})
                : t('batch.pace.none'),
        ],
        [t('batch.in_flight'), number(batch.maxInFlight)],
        [
            t('batch.threshold'),
            threshold
                ? t('batch.threshold.words', {percent: threshold.percent, n: threshold.minFinished})
                : t('batch.threshold.none'),
        ],
        [t('batch.gate'), word('gate', batch.gate)],
        [
            t('batch.retries'),
            retry?.max
                ? t('batch.retries.words', {n: retry.max, time: duration(retry.delaySeconds)})
                : t('batch.retries.none'),
        ],
        [t('batch.timeout'), duration(batch.timeoutSeconds)],
        [t('batch.mode'), word('mode', batch.mode)],
    ];
}

export function progressWords(batch) {
    return t('batch.progress', {
        ended: endedOf(batch),
        n: batch.total,
        share: share(endedOf(batch), batch.total),
    });
}
