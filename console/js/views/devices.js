// SPDX-License-Identifier: BSD-3-Clause
// A product's Devices.
import {fill, h} from '../dom.js';
import {call} from '../api.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {deviceList} from '../components/device_list.js';
import {formDialog} from '../components/dialog.js';
import {optional, textField} from '../components/field.js';
import {icon} from '../components/icon.js';
import {done} from '../components/toast.js';
import {productFrame, rememberProduct} from './frames.js';
import {upgradeButton} from './upgrade_one.js';

export const tagsOf = (text) => [...new Set(text.split(/[\s,]+/).filter(Boolean))];

function addDevice(product, reload) {
    const fields = {
        device: textField({
            label: t('device.name'),
            hint: t('device.rule'),
            required: true,
            maxlength: '48',
        }),
        description: textField({label: optional(t('description')), maxlength: '256'}),
        tags: textField({label: optional(t('tags')), hint: t('tags.rule')}),
    };
    formDialog({
        title: t('device.add'),
        action: t('device.add'),
        fields,
        content: [h('p.hint', t('device.add.text')), Object.values(fields).map(({node}) => node)],
        submit: async () => {
            await call('createDevice', {
                product,
                device: fields.device.value,
                description: fields.description.value,
                tags: tagsOf(fields.tags.value),
            });
            done(t('device.added', {name: fields.device.value}));
            reload();
        },
    });
}

export function devicesView(page, {product}, query) {
    const add =
        can('createDevice') &&
        h(
            'button',
            {type: 'button', on: {click: () => addDevice(product, () => list.reload())}},
            icon('plus'),
            t('device.add'),
        );
    rememberProduct(product);
    const body = productFrame(page, product, 'devices', [add]);
    const list = deviceList(page, product, {
        query,
        actions: (row) => upgradeButton(row, () => list.reload()),
    });
    fill(body, list.node);
}
