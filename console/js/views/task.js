// SPDX-License-Identifier: BSD-3-Clause
// One task: where it is, and its history as a timeline.
import {fill, h} from '../dom.js';
import {call} from '../api.js';
import {ago, clock, day, moment, span} from '../format.js';
import {heading, watch} from '../page.js';
import {link} from '../router.js';
import {t, word} from '../text.js';
import {facts} from '../components/facts.js';
import {deviceLink} from '../components/device_list.js';
import {FINAL} from '../components/badge.js';
import {taskActions, taskNote, taskStatus} from '../components/task_parts.js';

function timeline(events) {
    return h(
        'ol.timeline',
        {'aria-label': t('task.timeline')},
        events.map((event, i) =>
            h(
                `li.s-${event.status}`,
                h(
                    'time',
                    {datetime: new Date(event.at).toISOString(), title: moment(event.at)},
                    clock(event.at),
                ),
                h(
                    'div',
                    h('b', word('status', event.status)),
                    event.status === 'downloading' && ` ${t('percent', {n: event.percent})}`,
                    event.detail && h('p.faint', event.detail),
                ),
                i > 0 && h('span.faint.delta', `+${span(event.at - events[i - 1].at)}`),
            ),
        ),
    );
}

function factsOf(task) {
    return facts([
        [t('product'), h('a', {href: link(['products', task.product, 'firmware'])}, task.product)],
        [t('device'), deviceLink(task.product, task.device)],
        [t('task.versions'), h('span.version', `${task.fromVersion ?? '?'} → ${task.version}`)],
        [
            t('batch'),
            task.batch
                ? h(
                      'a',
                      {href: link(['batches', task.batch])},
                      t('batch.number', {batch: String(task.batch)}),
                  )
                : t('task.single'),
        ],
        [t('task.attempts'), t('n', {n: task.attempt})],
        [t('created'), ago(task.createdAt)],
        [t('task.sent'), ago(task.sentAt)],
        task.deadlineAt && [
            t('task.deadline'),
            h('span', clock(task.deadlineAt), ' ', h('span.faint', day(task.deadlineAt))),
        ],
        [t('task.finished'), ago(task.finishedAt)],
    ]);
}

export function taskView(page, {task: id}) {
    const body = h('div');
    const actions = h('div.actions');
    const crumbs = (task) => [
        [t('nav.upgrade'), link(['upgrade'])],
        [t('tab.tasks'), link(['upgrade', task?.product ?? '*', 'tasks'])],
    ];
    const head = h('div');
    let product = null;

    function show({task, events}) {
        if (product !== task.product) {
            product = task.product;
            fill(head, heading({title: t('task.name', {task: id}), crumbs: crumbs(task), actions}));
        }
        fill(
            actions,
            taskActions(task, () => watching.reload()),
        );
        const note = taskNote(task);
        fill(
            body,
            h(
                'div.card.task-head',
                {role: 'status'},
                taskStatus(task),
                h('p', t('task.sentence', {device: task.device, version: task.version})),
                note && h('p.faint', note),
                !FINAL.has(task.status) &&
                    task.deadlineAt &&
                    h('p.faint', t('task.until', {time: clock(task.deadlineAt)})),
            ),
            h(
                'div.columns',
                h(
                    'section.card',
                    h('h2', t('task.timeline')),
                    events.length ? timeline(events) : h('p.faint', t('task.no_events')),
                ),
                h('section.card', h('h2', t('details')), factsOf(task)),
            ),
        );
    }

    fill(head, heading({title: t('task.name', {task: id}), crumbs: crumbs()}));
    fill(page.place, head, body);
    const watching = watch(page, {
        place: body,
        show,
        load: (signal) => call('getTask', {task: Number(id)}, signal),
        wants: (event) =>
            (event.type === 'task' && event.task === Number(id)) || event.type === 'presence',
    });
}
