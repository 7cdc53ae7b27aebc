// SPDX-License-Identifier: BSD-3-Clause
// The device list with its filters: the version drop-down, connection, tag, start of the name. Used
// by a product's Devices and by Firmware Upgrade.
import {fill, h} from '../dom.js';
import {ago} from '../format.js';
import {productOf, versionOption, versionsOf} from '../fleet.js';
import {watch} from '../page.js';
import {link, replaceQuery} from '../router.js';
import {t} from '../text.js';
import {onlineMark, statusBadge, tags} from './badge.js';
import {empty} from './empty.js';
import {selectField, textField} from './field.js';
import {pagedList} from './pager.js';
import {patchTask} from './task_parts.js';
import {table} from './table.js';

const NAME = /^[A-Za-z0-9_:-]{0,48}$/;
const TAG = /^[A-Za-z0-9_.:=-]{0,32}$/;
const TYPING_MS = 300;

export function lastTask(task) {
    return task
        ? h(
              'a.task-link',
              {href: link(['tasks', task.task])},
              statusBadge(task.status),
              ' ',
              h('span.faint', `→ ${task.version}`),
          )
        : h('span.faint', '–');
}

export function deviceLink(product, device) {
    return h('a', {href: link(['products', product, 'devices', device])}, device);
}

function columns(actions) {
    return [
        {
            key: 'device',
            label: t('device'),
            kind: 'main',
            cell: (row) => [
                deviceLink(row.product, row.device),
                row.hold && h('span.tag.warn', t('device.held')),
            ],
        },
        {
            key: 'version',
            label: t('device.version'),
            cell: (row) =>
                row.version
                    ? h('span.version', row.version)
                    : h('span.faint', t('device.no_version')),
        },
        {key: 'online', label: t('device.connection'), cell: (row) => onlineMark(row.online)},
        {key: 'task', label: t('device.task'), cell: (row) => lastTask(row.task)},
        {key: 'tags', label: t('tags'), kind: 'minor', cell: (row) => tags(row.tags)},
        {
            key: 'lastSeenAt',
            label: t('device.seen'),
            kind: 'minor',
            cell: (row) => ago(row.lastSeenAt),
        },
        {key: 'actions', label: t('actions'), kind: 'actions', cell: actions},
    ];
}

function checkedText(label, pattern, rule, value, placeholder, changed) {
    let timer;
    const field = textField({
        label,
        value,
        type: 'search',
        placeholder,
        on: {
            input: () => {
                clearTimeout(timer);
                const good = pattern.test(field.value);
                field.setError(good ? '' : rule);
                if (good) {
                    timer = setTimeout(changed, TYPING_MS);
                }
            },
        },
    });
    return field;
}

function filterFields(query, changed) {
    const fields = {
        version: selectField({
            label: t('device.version'),
            options: [
                ['', t('filter.any_version')],
                ...(query.version ? [[query.version, query.version]] : []),
            ],
            value: query.version ?? '',
            on: {change: () => changed()},
        }),
        online: selectField({
            label: t('device.connection'),
            options: [
                ['', t('filter.any')],
                ['yes', t('device.online')],
                ['no', t('device.offline')],
            ],
            value: query.online ?? '',
            on: {change: () => changed()},
        }),
        prefix: checkedText(
            t('filter.prefix'),
            NAME,
            t('device.rule'),
            query.prefix ?? '',
            t('filter.prefix.example'),
            () => changed(),
        ),
        tag: checkedText(
            t('filter.tag'),
            TAG,
            t('tag.rule'),
            query.tag ?? '',
            t('filter.tag.example'),
            () => changed(),
        ),
    };
    return fields;
}

// The drop-down has all versions that were uploaded or reported, with their devices.
function fillVersions(select, versions) {
    const value = select.value;
    const known = versions.some((row) => row.version === value);
    fill(
        select,
        h('option', {value: ''}, t('filter.any_version')),
        !known && value && h('option', {value}, value),
        versions.map((row) => {
            const [key, words] = versionOption(row);
            return h('option', {value: key}, words);
        }),
    );
    select.value = value;
}

// deviceList(page, product, {query, actions(row) → node, onFilter?(filter, count)}):
// gives {node, reload, filters}
export function deviceList(page, product, {query, actions, onFilter}) {
    let versions = [];
    let all;
    const fields = filterFields(query, changed);
    const rows = table({
        label: t('tab.devices'),
        rowKey: (row) => row.device,
        columns: columns(actions),
    });

    const asked = () =>
        Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, field.value]));
    function filters() {
        const {version, online, prefix, tag} = asked();
        return {
            product,
            ...(version && {version}),
            ...(online && {online: online === 'yes'}),
            ...(prefix && {prefix}),
            ...(tag && {tag}),
        };
    }

    // How many there are is known without looking where at most the version is filtered.
    function total() {
        const {version, online, prefix, tag} = asked();
        if (online || prefix || tag) {
            return undefined;
        }
        return version ? versions.find((row) => row.version === version)?.devices : all;
    }

    function changed() {
        replaceQuery(asked());
        list.reset();
        onFilter?.(filters(), total());
    }

    function none() {
        if (Object.values(asked()).some(Boolean)) {
            return empty(
                'search',
                t('devices.no_match'),
                t('devices.no_match.text'),
                h('button', {type: 'button', on: {click: clear}}, t('filter.clear')),
            );
        }
        return empty('device', t('devices.none'), t('devices.none.text', {product}));
    }

    function clear() {
        Object.values(fields).forEach((field) => {
            field.value = '';
        });
        changed();
    }

    const list = pagedList(page, {
        command: 'listDevices',
        key: 'devices',
        table: rows,
        filters,
        total,
        none,
        wants: (event) => ['task', 'version', 'presence'].includes(event.type),
        patch,
    });

    // What an event says is shown at once. False: the page has to be read again, since a device
    // may have to come, go, or show more than the event tells.
    function patch(event) {
        const {version, online} = asked();
        if (
            !event.device ||
            (event.type === 'version' && version) ||
            (event.type === 'presence' && online)
        ) {
            return false;
        }
        if (event.type === 'task') {
            const row = rows.rows().find(({device}) => device === event.device);
            return (
                !row ||
                (row.task?.task === event.task &&
                    rows.patch(event.device, (old) => ({...old, task: patchTask(old.task, event)})))
            );
        }
        const news = event.type === 'presence' ? {online: event.online} : {version: event.version};
        return rows.patch(event.device, (row) => ({...row, ...news})) || event.type === 'presence';
    }

    watch(page, {
        place: h('div'),
        load: (signal) => Promise.all([versionsOf(product, signal), productOf(product, signal)]),
        show: ([found, row]) => {
            versions = found;
            all = row?.devices;
            fillVersions(fields.version.control, versions);
            list.soon();
            onFilter?.(filters(), total());
        },
        wants: (event) => event.type === 'version' || event.type === 'firmware',
    });
    const node = h(
        'div',
        h(
            'div.filters',
            {role: 'search', 'aria-label': t('filter.label')},
            Object.values(fields).map((field) => field.node),
        ),
        list.node,
    );
    return {node, reload: list.reload, filters};
}
