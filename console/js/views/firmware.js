// SPDX-License-Identifier: BSD-3-Clause
// A product's Firmware List.
import {fill, h} from '../dom.js';
import {call, callAll} from '../api.js';
import {ago, bytes, number} from '../format.js';
import {watch} from '../page.js';
import {link} from '../router.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {signedMark} from '../components/badge.js';
import {confirmDialog} from '../components/dialog.js';
import {empty} from '../components/empty.js';
import {copyButton} from '../components/copy.js';
import {icon} from '../components/icon.js';
import {iconButton} from '../components/icon_button.js';
import {table} from '../components/table.js';
import {done} from '../components/toast.js';
import {addFirmware} from './firmware_add.js';
import {productFrame, rememberProduct} from './frames.js';

const LIMIT = 200;

function digest(name, value) {
    return h(
        'span.digest',
        h('span.faint', name),
        ' ',
        h('code', {title: value}, `${value.slice(0, 10)}…`),
        copyButton(name, value),
    );
}

function deleteFirmware(row, reload) {
    confirmDialog({
        title: t('firmware.delete.title', {version: row.version}),
        action: t('firmware.delete'),
        text:
            row.devices > 0
                ? t('firmware.delete.used', {
                      version: row.version,
                      product: row.product,
                      n: row.devices,
                  })
                : t('firmware.delete.text', {version: row.version, product: row.product}),
        submit: async () => {
            await call('deleteFirmware', {product: row.product, version: row.version});
            done(t('firmware.deleted', {version: row.version}));
            reload();
        },
    });
}

function columns(reload) {
    return [
        {
            key: 'version',
            label: t('version'),
            kind: 'main',
            cell: (row) => h('span.version', row.version),
        },
        {
            key: 'file',
            label: t('file'),
            kind: 'wide',
            cell: (row) => h('span', row.filename, ' ', h('span.faint', bytes(row.size))),
        },
        {
            key: 'description',
            label: t('description'),
            kind: 'wide',
            cell: (row) => row.description || h('span.faint', '–'),
        },
        {key: 'signed', label: t('firmware.signature'), cell: (row) => signedMark(row.signed)},
        {
            key: 'digests',
            label: t('firmware.digests'),
            kind: 'minor',
            cell: (row) => [digest('MD5', row.md5), digest('SHA-256', row.sha256)],
        },
        {
            key: 'order',
            label: t('firmware.order'),
            kind: 'number',
            cell: (row) => number(row.order),
        },
        {
            key: 'devices',
            label: t('product.devices'),
            kind: 'number',
            cell: (row) =>
                h(
                    'a',
                    {
                        href: link(['products', row.product, 'devices'], {version: row.version}),
                        'aria-label': t('versions.devices.on', {
                            n: row.devices,
                            version: row.version,
                        }),
                    },
                    number(row.devices),
                ),
        },
        {key: 'createdAt', label: t('added'), cell: (row) => ago(row.createdAt)},
        {
            key: 'actions',
            label: t('actions'),
            kind: 'actions',
            cell: (row) =>
                can('deleteFirmware') &&
                iconButton({
                    name: 'trash',
                    kind: 'danger',
                    label: t('firmware.delete.title', {version: row.version}),
                    title: t('delete'),
                    click: () => deleteFirmware(row, reload),
                }),
        },
    ];
}

// Firmware with how many devices run it.
async function read(product, signal) {
    const [{firmware}, {versions}] = await callAll(
        [
            ['listFirmware', {product, limit: LIMIT}],
            ['listVersions', {product, limit: LIMIT}],
        ],
        signal,
    );
    const running = new Map(versions.map((row) => [row.version, row.devices]));
    return firmware.map((row) => ({...row, devices: running.get(row.version) ?? 0}));
}

export function firmwareView(page, {product}) {
    let count = 0;
    const add = () =>
        can('addFirmware') &&
        h(
            'button.primary',
            {
                type: 'button',
                on: {click: () => addFirmware(product, count, () => watching.reload())},
            },
            icon('plus'),
            t('firmware.add'),
        );
    const body = productFrame(page, product, 'firmware', [add()]);
    const rows = table({
        label: t('tab.firmware'),
        rowKey: (row) => row.version,
        columns: columns(() => watching.reload()),
    });
    rememberProduct(product);
    const watching = watch(page, {
        place: body,
        load: (signal) => read(product, signal),
        show: (firmware) => {
            count = firmware.length;
            rows.update(firmware);
            fill(
                body,
                count
                    ? [h('p.range', t('firmware.count', {n: count})), rows.node]
                    : empty(
                          'file',
                          t('firmware.none'),
                          can('addFirmware') ? t('firmware.none.text') : t('firmware.none.viewer'),
                          add(),
                      ),
            );
        },
        wants: (event) => event.type === 'firmware' || event.type === 'version',
    });
}
