// SPDX-License-Identifier: BSD-3-Clause
// How a task looks in lists and on its page, and what can be done with it.
import {h} from '../dom.js';
import {call} from '../api.js';
import {can} from '../session.js';
import {t, word} from '../text.js';
import {FINAL, UNDER_WAY, confirmation, statusBadge} from './badge.js';
import {progress} from './bar.js';
import {confirmDialog} from './dialog.js';
import {icon} from './icon.js';
import {done, failed} from './toast.js';

export function taskStatus(task) {
    return h(
        'div.task-status',
        statusBadge(task.status),
        task.status === 'downloading' &&
            h(
                'span.task-progress',
                progress(task.percent, t('task.progress', {device: task.device})),
                h('span', t('percent', {n: task.percent})),
            ),
        task.status === 'succeeded' && confirmation(task.confirmation),
    );
}

// Why: what it waits for, how it failed, the device's own words.
export function taskNote(task) {
    const code =
        task.resultCode === null || task.resultCode === undefined ? '' : ` (${task.resultCode})`;
    const parts = [
        task.waitReason && word('wait', task.waitReason),
        task.resultMessage && `${word('result', task.resultMessage)}${code}`,
        task.deviceMessage && t('task.said', {message: task.deviceMessage}),
        UNDER_WAY.has(task.status) && !task.online && t('task.away'),
        task.attempt > 1 && t('task.attempt', {n: task.attempt}),
    ].filter(Boolean);
    return parts.join(' · ');
}

function cancel(task, changed) {
    confirmDialog({
        title: t('task.cancel.title', {task: String(task.task)}),
        action: t('task.cancel'),
        text: t(UNDER_WAY.has(task.status) ? 'task.cancel.running' : 'task.cancel.waiting', {
            device: task.device,
            version: task.version,
        }),
        submit: async () => {
            await call('cancelTask', {task: task.task});
            done(t('task.cancelled', {device: task.device}));
            changed();
        },
    });
}

async function retry(task, changed) {
    try {
        await call('retryTask', {task: task.task});
        done(t('task.retried', {device: task.device, version: task.version}));
        changed();
    } catch (error) {
        failed(error);
    }
}

export function taskActions(task, changed) {
    const about = h('span.sr', ` ${t('task.name', {task: String(task.task)})}`);
    if (!FINAL.has(task.status)) {
        return (
            can('cancelTask') &&
            h(
                'button.small',
                {type: 'button', on: {click: () => cancel(task, changed)}},
                t('task.cancel.short'),
                about,
            )
        );
    }
    return (
        task.status !== 'succeeded' &&
        can('retryTask') &&
        h(
            'button.small',
            {type: 'button', on: {click: () => retry(task, changed)}},
            icon('retry'),
            t('task.retry'),
            about,
        )
    );
}

// An event of the stream, put into a task that is shown.
export function patchTask(task, event) {
    return {
        ...task,
        status: event.status,
        percent: event.percent ?? task.percent,
        updatedAt: event.at,
        confirmation: event.confirmation ?? task.confirmation,
        ...(FINAL.has(event.status) ||
        event.status === 'task_waiting' ||
        event.status === 'device_offline'
            ? {}
            : {waitReason: null, online: true}),
    };
}
