// SPDX-License-Identifier: BSD-3-Clause
// The two places with tabs: a product, and the firmware upgrade of a product.
import {fill, h} from '../dom.js';
import {page as readPage} from '../api.js';
import {heading} from '../page.js';
import {go, link} from '../router.js';
import {t} from '../text.js';
import {tabs} from '../components/tabs.js';
import {selectField} from '../components/field.js';

const MANY = 1000;
const natural = new Intl.Collator('en', {numeric: true});
export const ALL = '*'; // in addresses; no product has that name

// Gives the place below the tabs.
export function productFrame(page, product, tab, actions = []) {
    const body = h('section.tab-body', {'aria-label': t(`tab.${tab}`)});
    fill(
        page.place,
        heading({title: product, crumbs: [[t('nav.products'), link(['products'])]], actions}),
        tabs(
            t('tabs.product'),
            ['firmware', 'devices', 'versions'].map((name) => [
                name,
                t(`tab.${name}`),
                link(['products', product, name]),
            ]),
            tab,
        ),
        body,
    );
    return body;
}

// In the order of their names.
export async function allProducts(signal) {
    const {rows} = await readPage('listProducts', 'products', {}, {limit: MANY, signal});
    return rows.sort((a, b) => natural.compare(a.product, b.product));
}

function productSelect(page, product, tab) {
    const holder = h('div.product-select');
    const show = (names) => {
        const every = tab === 'upgrade' ? [] : [[ALL, t('upgrade.all')]];
        const field = selectField({
            label: t('product'),
            options: [...every, ...names.map((name) => [name, name])],
            value: product,
            on: {
                change: (event) =>
                    go(['upgrade', event.target.value, tab === 'upgrade' ? 'devices' : tab]),
            },
        });
        fill(holder, field.node);
    };
    show(product === ALL ? [] : [product]);
    allProducts(page.signal).then(
        (rows) => {
            const names = rows.map((row) => row.product);
            show(product === ALL || names.includes(product) ? names : [product, ...names]);
        },
        () => {},
    );
    return holder;
}

export function upgradeFrame(page, product, tab) {
    const body = h('section.tab-body', {'aria-label': t(`tab.${tab}`)});
    rememberProduct(product);
    const places = [
        ['upgrade', 'devices'],
        ['tasks', 'tasks'],
        ['batches', 'batches'],
    ].filter(([name]) => product !== ALL || name !== 'upgrade');
    fill(
        page.place,
        heading({title: t('nav.upgrade'), actions: productSelect(page, product, tab)}),
        tabs(
            t('tabs.upgrade'),
            places.map(([name, path]) => [
                name,
                t(`tab.${name}`),
                link(['upgrade', product, path]),
            ]),
            tab,
        ),
        body,
    );
    return body;
}

// --- the product that was looked at last ----------------------------------------------------------

let lastProduct = null;
export const rememberedProduct = () => lastProduct;
export function rememberProduct(product) {
    if (product !== ALL) {
        lastProduct = product;
    }
}
