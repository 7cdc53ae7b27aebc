// SPDX-License-Identifier: BSD-3-Clause
// A live list of tasks, for a product, a batch or a device.
import {h} from '../dom.js';
import {ago} from '../format.js';
import {link} from '../router.js';
import {t} from '../text.js';
import {patchTask, taskActions, taskNote, taskStatus} from './task_parts.js';
import {FINAL} from './badge.js';
import {deviceLink} from './device_list.js';
import {pagedList} from './pager.js';
import {table} from './table.js';

function columns(changed, {product = false, device = true, batch = true}) {
    return [
        {
            key: 'task',
            label: t('task'),
            kind: 'main.short',
            cell: (row) =>
                h(
                    'a',
                    {
                        href: link(['tasks', row.task]),
                        'aria-label': t('task.history', {task: String(row.task)}),
                    },
                    `#${row.task}`,
                ),
        },
        device && {
            key: 'device',
            label: t('device'),
            kind: 'wide',
            cell: (row) => [
                product && h('span.faint', `${row.product} / `),
                deviceLink(row.product, row.device),
            ],
        },
        {
            key: 'version',
            label: t('task.versions'),
            cell: (row) =>
                h('span.version', h('span.faint', `${row.fromVersion ?? '?'} → `), row.version),
        },
        {key: 'status', label: t('status'), cell: taskStatus},
        {key: 'note', label: t('task.why'), kind: 'wide', cell: (row) => taskNote(row)},
        batch && {
            key: 'batch',
            label: t('batch'),
            kind: 'minor.short',
            cell: (row) =>
                row.batch
                    ? h(
                          'a',
                          {
                              href: link(['batches', row.batch]),
                              'aria-label': t('batch.number', {batch: String(row.batch)}),
                          },
                          `#${row.batch}`,
                      )
                    : h('span.faint', '–'),
        },
        {key: 'updatedAt', label: t('updated'), cell: (row) => ago(row.updatedAt)},
        {
            key: 'actions',
            label: t('actions'),
            kind: 'actions',
            cell: (row) => taskActions(row, changed),
        },
    ].filter(Boolean);
}

// taskList(page, {filters() → fields, none() → node, show: which columns, limit})
export function taskList(page, {filters, none, show = {}, total, limit}) {
    const rows = table({
        label: t('tab.tasks'),
        rowKey: (row) => row.task,
        columns: columns(() => list.soon(), show),
    });
    const seen = (task) => rows.rows().find((row) => row.task === task);
    const list = pagedList(page, {
        command: 'listTasks',
        key: 'tasks',
        table: rows,
        filters,
        none,
        total,
        limit,
        wants: (event) => event.type === 'task' || event.type === 'presence',
        // A new percentage needs no look at the server; a new status does, for its reasons. Whether
        // a device is there matters to its unfinished task alone.
        patch: (event) => {
            if (event.type !== 'task') {
                return !rows
                    .rows()
                    .some((row) => row.device === event.device && !FINAL.has(row.status));
            }
            const before = seen(event.task)?.status;
            return (
                rows.patch(event.task, (row) => patchTask(row, event)) && before === event.status
            );
        },
    });
    return list;
}
