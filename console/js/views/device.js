// SPDX-License-Identifier: BSD-3-Clause
// One device: why it is where it is, first.
import {fill, h} from '../dom.js';
import {call, callAll, page as readPage} from '../api.js';
import {ago, moment} from '../format.js';
import {heading, watch} from '../page.js';
import {go, link} from '../router.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {onlineMark, tags} from '../components/badge.js';
import {lastTask} from '../components/device_list.js';
import {confirmDialog, formDialog} from '../components/dialog.js';
import {empty} from '../components/empty.js';
import {facts} from '../components/facts.js';
import {optional, textField} from '../components/field.js';
import {icon} from '../components/icon.js';
import {taskList} from '../components/task_list.js';
import {done, failed} from '../components/toast.js';
import {tagsOf} from './devices.js';
import {upgradeOne} from './upgrade_one.js';

const HISTORY = 50;
const BAD = new Set(['failed', 'contradicted']);
const GOOD = new Set(['no_task']);

function explanation(why) {
    const kind = BAD.has(why.reason) ? 'bad' : GOOD.has(why.reason) ? 'good' : 'info';
    return h(
        `div.card.explain.${kind}`,
        {role: 'status'},
        icon(kind === 'bad' ? 'alert' : kind === 'good' ? 'check' : 'info'),
        h(
            'div',
            h('p', why.sentence),
            (why.task || why.batch) &&
                h(
                    'p.links',
                    why.task &&
                        h(
                            'a',
                            {href: link(['tasks', why.task])},
                            t('task.name', {task: String(why.task)}),
                        ),
                    why.batch &&
                        h(
                            'a',
                            {href: link(['batches', why.batch])},
                            t('batch.number', {batch: String(why.batch)}),
                        ),
                ),
        ),
    );
}

function edit(device, reload) {
    const fields = {
        description: textField({
            label: optional(t('description')),
            hint: t('description.rule'),
            value: device.description,
            maxlength: '256',
        }),
        tags: textField({
            label: optional(t('tags')),
            hint: t('tags.rule'),
            value: device.tags.join(' '),
        }),
    };
    formDialog({
        title: t('device.edit.title', {name: device.device}),
        action: t('save'),
        fields,
        content: Object.values(fields).map(({node}) => node),
        submit: async () => {
            await call('updateDevice', {
                product: device.product,
                device: device.device,
                description: fields.description.value,
                tags: tagsOf(fields.tags.value),
            });
            done(t('saved'));
            reload();
        },
    });
}

async function hold(device, on, reload) {
    try {
        await call('updateDevice', {product: device.product, device: device.device, hold: on});
        done(t(on ? 'device.hold.on' : 'device.hold.off', {name: device.device}));
        reload();
    } catch (error) {
        failed(error);
    }
}

function remove(device) {
    confirmDialog({
        title: t('device.delete.title', {name: device.device}),
        action: t('device.delete'),
        text: t('device.delete.text', {name: device.device, product: device.product}),
        submit: async () => {
            await call('deleteDevice', {product: device.product, device: device.device});
            done(t('device.deleted', {name: device.device}));
            go(['products', device.product, 'devices']);
        },
    });
}

function actionsOf(device, reload) {
    const button = (command, words, act, kind = '') =>
        can(command) && h(`button${kind}`, {type: 'button', on: {click: act}}, words);
    return [
        button('updateDevice', t('edit'), () => edit(device, reload)),
        button('updateDevice', t(device.hold ? 'device.release' : 'device.hold'), () =>
            hold(device, !device.hold, reload),
        ),
        button('deleteDevice', t('delete'), () => remove(device), '.danger-quiet'),
        button('upgradeDevice', t('upgrade.one'), () => upgradeOne(device, reload), '.primary'),
    ];
}

const gatewayOf = ({gatewayProduct, gateway}) =>
    h('a', {href: link(['products', gatewayProduct, 'devices', gateway])}, gateway);

function factsOf(device) {
    return facts([
        [
            t('device.version'),
            device.version ? h('span.version', device.version) : t('device.no_version'),
        ],
        [t('device.reported'), ago(device.versionReportedAt)],
        [t('device.connection'), onlineMark(device.online)],
        [t('device.seen'), ago(device.lastSeenAt)],
        device.gateway && [t('device.gateway'), gatewayOf(device)],
        [t('device.task'), lastTask(device.task)],
        [
            t('device.upgrades'),
            device.hold ? h('span.tag.warn', t('device.held')) : t('device.not_held'),
        ],
        [t('tags'), device.tags.length ? tags(device.tags) : h('span.faint', '–')],
        [t('description'), device.description || h('span.faint', '–')],
        [t('created'), ago(device.createdAt)],
    ]);
}

function history(rows, more) {
    return rows.length === 0
        ? h('p.faint', t('device.no_history'))
        : h(
              'ol.history',
              rows.map((row) =>
                  h(
                      'li',
                      h('span.version', row.version),
                      h('time', {datetime: new Date(row.at).toISOString()}, moment(row.at)),
                  ),
              ),
              more && h('li.faint', t('more.older')),
          );
}

async function read(at, signal) {
    const [{device}, why] = await callAll(
        [
            ['getDevice', at],
            ['explainDevice', at],
        ],
        signal,
    );
    const versions = await readPage('listDeviceHistory', 'versions', at, {limit: HISTORY, signal});
    return {device, why, versions};
}

export function deviceView(page, {product, device: name}) {
    const at = {product, device: name};
    const actions = h('div.actions');
    const top = h('div');
    const older = h('section.card');
    const tasks = taskList(page, {
        filters: () => at,
        show: {device: false},
        limit: 20,
        none: () => empty('upgrade', t('device.no_tasks'), t('device.no_tasks.text')),
    });

    fill(
        page.place,
        heading({
            title: name,
            crumbs: [
                [t('nav.products'), link(['products'])],
                [product, link(['products', product, 'firmware'])],
                [t('tab.devices'), link(['products', product, 'devices'])],
            ],
            actions,
        }),
        top,
        h('section', h('h2', t('device.tasks')), tasks.node),
    );
    const watching = watch(page, {
        place: top,
        load: (signal) => read(at, signal),
        show: ({device, why, versions}) => {
            fill(
                actions,
                actionsOf(device, () => {
                    watching.reload();
                    tasks.soon();
                }),
            );
            fill(older, h('h2', t('device.history')), history(versions.rows, versions.next));
            fill(
                top,
                explanation(why),
                h('div.columns', h('section.card', h('h2', t('details')), factsOf(device)), older),
            );
        },
        wants: (event) => event.type === 'batch' || event.device === name,
    });
}
