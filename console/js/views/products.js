// SPDX-License-Identifier: BSD-3-Clause
// Product List.
import {fill, h} from '../dom.js';
import {call} from '../api.js';
import {number} from '../format.js';
import {heading} from '../page.js';
import {go, link} from '../router.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {progress} from '../components/bar.js';
import {ago} from '../format.js';
import {checkField, optional, textField} from '../components/field.js';
import {formDialog} from '../components/dialog.js';
import {empty, notice} from '../components/empty.js';
import {icon} from '../components/icon.js';
import {iconButton} from '../components/icon_button.js';
import {pagedList} from '../components/pager.js';
import {table} from '../components/table.js';
import {done} from '../components/toast.js';

function descriptionField(value = '') {
    return textField({
        label: optional(t('description')),
        value,
        hint: t('description.rule'),
        maxlength: '256',
    });
}

function addProduct() {
    const fields = {
        product: textField({
            label: t('product.name'),
            hint: t('product.rule'),
            required: true,
            maxlength: '32',
        }),
        description: descriptionField(),
    };
    formDialog({
        title: t('product.add'),
        action: t('product.add'),
        fields,
        content: [fields.product.node, fields.description.node],
        submit: async () => {
            const name = fields.product.value;
            await call('createProduct', {product: name, description: fields.description.value});
            done(t('product.added', {name}));
            go(['products', name, 'firmware']);
        },
    });
}

function editProduct(row, reload) {
    const fields = {description: descriptionField(row.description)};
    formDialog({
        title: t('product.edit.title', {name: row.product}),
        action: t('save'),
        fields,
        content: fields.description.node,
        submit: async () => {
            await call('updateProduct', {
                product: row.product,
                description: fields.description.value,
            });
            done(t('saved'));
            reload();
        },
    });
}

function deleteProduct(row, reload) {
    const full = row.devices > 0 || row.firmware > 0;
    const sure = checkField({
        label: t('product.delete.sure', {devices: row.devices, firmware: row.firmware}),
    });
    formDialog({
        title: t('product.delete.title', {name: row.product}),
        action: t('product.delete'),
        kind: 'danger',
        content: [
            full
                ? notice(
                      'warn',
                      t('product.delete.full', {
                          name: row.product,
                          devices: row.devices,
                          firmware: row.firmware,
                      }),
                  )
                : h('p', t('product.delete.empty', {name: row.product})),
            full && sure.node,
        ],
        submit: async () => {
            if (full && !sure.checked) {
                sure.control.focus();
                return false;
            }
            await call('deleteProduct', {product: row.product, ...(full ? {force: true} : {})});
            done(t('product.deleted', {name: row.product}));
            reload();
            return true;
        },
    });
}

function onlineCell(row) {
    return h(
        'div.online-cell',
        h('span', t('product.online', {n: row.online, all: row.devices})),
        progress(
            row.devices ? (row.online / row.devices) * 100 : 0,
            t('product.online', {n: row.online, all: row.devices}),
            'good',
        ),
    );
}

function actionsCell(row, reload) {
    return [
        can('updateProduct') &&
            iconButton({
                name: 'edit',
                label: t('product.edit.title', {name: row.product}),
                title: t('edit'),
                click: () => editProduct(row, reload),
            }),
        can('deleteProduct') &&
            iconButton({
                name: 'trash',
                kind: 'danger',
                label: t('product.delete.title', {name: row.product}),
                title: t('delete'),
                click: () => deleteProduct(row, reload),
            }),
    ];
}

export function productsView(page) {
    const add = () =>
        can('createProduct') &&
        h(
            'button.primary',
            {type: 'button', on: {click: addProduct}},
            icon('plus'),
            t('product.add'),
        );
    const rows = table({
        label: t('nav.products'),
        rowKey: (row) => row.product,
        columns: [
            {
                key: 'product',
                label: t('product'),
                kind: 'main',
                cell: (row) =>
                    h('a', {href: link(['products', row.product, 'firmware'])}, row.product),
            },
            {
                key: 'description',
                label: t('description'),
                kind: 'wide',
                cell: (row) => row.description || h('span.faint', '–'),
            },
            {key: 'online', label: t('product.devices'), cell: onlineCell},
            {
                key: 'firmware',
                label: t('product.firmware'),
                kind: 'number',
                cell: (row) => number(row.firmware),
            },
            {
                key: 'createdAt',
                label: t('created'),
                kind: 'minor',
                cell: (row) => ago(row.createdAt),
            },
            {
                key: 'actions',
                label: t('actions'),
                kind: 'actions',
                cell: (row) => actionsCell(row, () => list.reload()),
            },
        ],
    });
    const list = pagedList(page, {
        command: 'listProducts',
        key: 'products',
        table: rows,
        filters: () => ({}),
        none: () =>
            empty(
                'products',
                t('products.none'),
                can('createProduct') ? t('products.none.text') : t('products.none.viewer'),
                add(),
            ),
        wants: (event) => event.type === 'presence' || event.type === 'firmware',
    });
    fill(page.place, heading({title: t('nav.products'), actions: [add()]}), list.node);
}
