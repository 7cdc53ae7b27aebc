// SPDX-License-Identifier: BSD-3-Clause
// Batches of a product, or of all.
import {fill, h} from '../dom.js';
import {ago, number} from '../format.js';
import {link, replaceQuery} from '../router.js';
import {can} from '../session.js';
import {t, word} from '../text.js';
import {statusBar} from '../components/bar.js';
import {empty} from '../components/empty.js';
import {selectField} from '../components/field.js';
import {pagedList} from '../components/pager.js';
import {table} from '../components/table.js';
import {advice, failedOf, progressWords, stateOf} from './batch_parts.js';
import {ALL, upgradeFrame} from './frames.js';
import {batchLink} from './upgrade_one.js';

const STATES = ['draft', 'scheduled', 'preparing', 'running', 'paused', 'cancelled', 'finished'];
const A_PAGE = 20;

function columns(every) {
    return [
        {
            key: 'batch',
            label: t('batch'),
            kind: 'main',
            cell: (row) =>
                h(
                    'a',
                    {href: link(['batches', row.batch])},
                    row.name || t('batch.number', {batch: String(row.batch)}),
                ),
        },
        every && {
            key: 'product',
            label: t('product'),
            cell: (row) => h('a', {href: link(['upgrade', row.product, 'batches'])}, row.product),
        },
        {key: 'version', label: t('task.target'), cell: (row) => h('span.version', row.version)},
        {
            key: 'state',
            label: t('batch.state'),
            cell: (row) => [stateOf(row), advice(row) && h('p.hint', advice(row))],
        },
        {
            key: 'bar',
            label: t('batch.progress.label'),
            kind: 'wide',
            cell: (row) =>
                h(
                    'div.bar-cell',
                    statusBar(row.counts, row.total),
                    h('span.faint', progressWords(row)),
                ),
        },
        {
            key: 'failed',
            label: t('batch.failed'),
            kind: 'number',
            cell: (row) => (failedOf(row) > 0 ? h('b.bad-text', number(failedOf(row))) : '0'),
        },
        {key: 'createdAt', label: t('created'), cell: (row) => ago(row.createdAt)},
    ].filter(Boolean);
}

export function batchesView(page, {product}, query) {
    const every = product === ALL;
    const create = () => !every && can('createBatch') && batchLink(product, {}, t('batch.upgrade'));
    const state = selectField({
        label: t('batch.state'),
        options: [['', t('filter.any')], ...STATES.map((name) => [name, word('state', name)])],
        value: query.state ?? '',
        on: {
            change: () => {
                replaceQuery({state: state.value});
                list.reset();
            },
        },
    });
    const body = upgradeFrame(page, product, 'batches');
    const list = pagedList(page, {
        command: 'listBatches',
        key: 'batches',
        limit: A_PAGE,
        table: table({
            label: t('tab.batches'),
            rowKey: (row) => row.batch,
            columns: columns(every),
        }),
        filters: () => ({...(!every && {product}), ...(state.value && {state: state.value})}),
        none: () =>
            empty(
                'batches',
                t(state.value ? 'batches.no_match' : 'batches.none'),
                t('batches.none.text'),
                create(),
            ),
        wants: (event) => event.type === 'batch' || (event.type === 'task' && event.batch),
    });
    fill(body, h('div.filters', state.node, h('div.filter-action', create())), list.node);
}
