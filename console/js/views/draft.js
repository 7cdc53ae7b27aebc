// SPDX-License-Identifier: BSD-3-Clause
// Fills a draft: devices by their names, as they come out of a spreadsheet or a list.
import {call} from '../api.js';
import {t} from '../text.js';
import {formDialog} from '../components/dialog.js';
import {areaField} from '../components/field.js';
import {done} from '../components/toast.js';

const MOST = 1000; // of one command

const namesIn = (text) => [...new Set(text.split(/[\s,;]+/).filter(Boolean))];

// What was added before an error stays added; added again it isn't added twice.
export function addDevices(batch, changed) {
    const fields = {
        devices: areaField({
            label: t('draft.names'),
            hint: t('draft.names.rule'),
            rows: '8',
            required: true,
        }),
    };
    formDialog({
        title: t('draft.title', {batch: String(batch.batch)}),
        action: t('draft.add'),
        fields,
        content: fields.devices.node,
        submit: async () => {
            const names = namesIn(fields.devices.value);
            if (names.length === 0) {
                fields.devices.setError(t('draft.none'));
                return false;
            }
            for (let at = 0; at < names.length; at += MOST) {
                const devices = names.slice(at, at + MOST);
                await call('addBatchDevices', {batch: batch.batch, devices});
            }
            done(t('draft.done', {n: names.length}));
            changed();
            return true;
        },
    });
}
