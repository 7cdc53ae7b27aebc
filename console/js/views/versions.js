// SPDX-License-Identifier: BSD-3-Clause
// Which versions the fleet runs.
import {fill, h} from '../dom.js';
import {number, share} from '../format.js';
import {firmwareOf, productOf, versionsOf} from '../fleet.js';
import {watch} from '../page.js';
import {link} from '../router.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {empty} from '../components/empty.js';
import {table} from '../components/table.js';
import {productFrame, rememberProduct} from './frames.js';

const HUES = 8;
const hue = (row) => (row.version === null ? 'none' : String(row.place % HUES));

async function read(product, signal) {
    const [versions, firmware, row] = await Promise.all([
        versionsOf(product, signal),
        firmwareOf(product, signal),
        productOf(product, signal),
    ]);
    const order = new Map(firmware.map((one) => [one.version, one.order]));
    const silent = (row?.devices ?? 0) - versions.reduce((sum, one) => sum + one.devices, 0);
    const rows = versions.map((one) => ({
        ...one,
        order: order.get(one.version),
        newest: one.version === firmware[0]?.version,
    }));
    rows.sort((a, b) => b.devices - a.devices);
    rows.forEach((one, i) => {
        one.place = i;
    });
    return {
        total: row?.devices ?? 0,
        rows: silent > 0 ? [...rows, {version: null, devices: silent}] : rows,
    };
}

function picture({rows, total}) {
    const parts = rows.filter((row) => row.devices > 0);
    const said = parts
        .map((row) => `${row.version ?? t('device.no_version')}: ${share(row.devices, total)}`)
        .join(', ');
    return h(
        'div.fleet',
        {role: 'img', 'aria-label': t('versions.picture', {said})},
        parts.map((row) =>
            h(
                `i.hue-${hue(row)}`,
                {
                    title: `${row.version ?? t('device.no_version')}: ${number(row.devices)}`,
                    vars: {part: `${(row.devices / total) * 100}%`},
                },
                row.devices / total > 0.08 && h('span', row.version ?? t('device.no_version')),
            ),
        ),
    );
}

function columns(product, total) {
    return [
        {
            key: 'version',
            label: t('version'),
            kind: 'main',
            cell: (row) => [
                h(`span.swatch.hue-${hue(row)}`, {'aria-hidden': 'true'}),
                row.version === null
                    ? h('span.faint', t('device.no_version'))
                    : h('span.version', row.version),
                row.newest && h('span.tag.good', t('versions.newest')),
            ],
        },
        {
            key: 'share',
            label: t('versions.share'),
            kind: 'grow',
            cell: (row) =>
                h(
                    'div.share',
                    h(`i.hue-${hue(row)}`, {
                        vars: {part: `${total() ? (row.devices / total()) * 100 : 0}%`},
                    }),
                    h('span', share(row.devices, total())),
                ),
        },
        {
            key: 'devices',
            label: t('product.devices'),
            kind: 'number',
            cell: (row) =>
                row.version === null
                    ? number(row.devices)
                    : h(
                          'a',
                          {
                              href: link(['products', product, 'devices'], {version: row.version}),
                              'aria-label': t('versions.devices.on', {
                                  n: row.devices,
                                  version: row.version,
                              }),
                          },
                          number(row.devices),
                      ),
        },
        {
            key: 'uploaded',
            label: t('versions.uploaded'),
            cell: (row) =>
                row.version === null
                    ? ''
                    : row.uploaded
                      ? t('yes')
                      : h('span.faint', t('versions.foreign')),
        },
        {
            key: 'order',
            label: t('firmware.order'),
            kind: 'number.minor',
            cell: (row) => (row.order === undefined ? h('span.faint', '–') : number(row.order)),
        },
        {
            key: 'actions',
            label: t('actions'),
            kind: 'actions',
            cell: (row) =>
                row.version !== null &&
                row.devices > 0 &&
                !row.newest &&
                can('createBatch') &&
                h(
                    'a.button.small',
                    {href: link(['upgrade', product, 'batch'], {version: row.version})},
                    t('batch.upgrade'),
                    h('span.sr', ` ${row.version}`),
                ),
        },
    ];
}

export function versionsView(page, {product}) {
    let total = 0;
    const body = productFrame(page, product, 'versions');
    const rows = table({
        label: t('tab.versions'),
        rowKey: (row) => row.version ?? '',
        columns: columns(product, () => total),
    });
    rememberProduct(product);
    watch(page, {
        place: body,
        load: (signal) => read(product, signal),
        show: (data) => {
            if (total !== data.total) {
                rows.clear(); // every share is another one
            }
            total = data.total;
            rows.update(data.rows);
            fill(
                body,
                data.rows.length === 0
                    ? empty('device', t('versions.none'), t('versions.none.text', {product}))
                    : [data.total > 0 && picture(data), rows.node],
            );
        },
        wants: (event) => event.type === 'version' || event.type === 'firmware',
    });
}
