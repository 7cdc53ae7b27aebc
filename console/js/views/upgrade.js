// SPDX-License-Identifier: BSD-3-Clause
// Firmware Upgrade: select the product, filter by version, upgrade one device or all that match.
import {fill, h} from '../dom.js';
import {heading, watch} from '../page.js';
import {link} from '../router.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {deviceList} from '../components/device_list.js';
import {empty} from '../components/empty.js';
import {allProducts, rememberedProduct, upgradeFrame} from './frames.js';
import {batchLink, upgradeButton} from './upgrade_one.js';

// Without a product in the address: the last one, else the one with most devices.
export function upgradeStart(page) {
    const place = h('div');
    fill(page.place, heading({title: t('nav.upgrade')}), place);
    watch(page, {
        place,
        load: (signal) => allProducts(signal),
        show: (rows) => {
            const last = rows.find(({product}) => product === rememberedProduct());
            const {product} =
                last ??
                rows.reduce((best, row) => (row.devices > (best.devices ?? -1) ? row : best), {});
            if (product) {
                location.replace(link(['upgrade', product, 'devices']));
                return;
            }
            fill(
                place,
                empty(
                    'products',
                    t('products.none'),
                    t('upgrade.no_products'),
                    h('a.button', {href: link(['products'])}, t('nav.products')),
                ),
            );
        },
    });
}

// The filter of the list, as the batch form takes it over.
function batchQuery({version, online, tag}) {
    return {version, tag, online: online === undefined ? undefined : online ? 'yes' : 'no'};
}

export function upgradeView(page, {product}, query) {
    const tools = h('div');
    const said = h('p.sum', {role: 'status'});

    function follow(filter, count) {
        fill(
            tools,
            can('createBatch') && batchLink(product, batchQuery(filter), t('batch.upgrade')),
        );
        const words = filter.version
            ? t('upgrade.filtered', {n: count ?? 0, version: filter.version})
            : t('upgrade.choose');
        fill(said, count === undefined && filter.version ? '' : words);
    }

    const body = upgradeFrame(page, product, 'upgrade');
    const list = deviceList(page, product, {
        query,
        onFilter: follow,
        actions: (row) => upgradeButton(row, () => list.reload()),
    });
    follow(list.filters(), undefined);
    fill(body, h('div.toolbar', said, tools), list.node);
}
