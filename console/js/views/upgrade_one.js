// SPDX-License-Identifier: BSD-3-Clause
// "Upgrade firmware" of one device. What would be refused is asked about beforehand.
import {fill, h} from '../dom.js';
import {call} from '../api.js';
import {bytes, duration} from '../format.js';
import {firmwareOf, firmwareOption, infoOf} from '../fleet.js';
import {link} from '../router.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {FINAL} from '../components/badge.js';
import {formDialog} from '../components/dialog.js';
import {notice} from '../components/empty.js';
import {checkField, numberField, optional, selectField} from '../components/field.js';
import {done, failed} from '../components/toast.js';

// Newest first; what the device runs isn't proposed.
function proposed(firmware, row) {
    return (firmware.find(({version}) => version !== row.version) ?? firmware[0]).version;
}

// What is in the way of this version: [[flag, question]]
function hurdles(row, target, firmware) {
    const present = firmware.find(({version}) => version === row.version);
    const busy = row.task && !FINAL.has(row.task.status);
    return [
        busy && [
            'override',
            t('upgrade.override', {task: String(row.task.task), version: row.task.version}),
        ],
        target.version === row.version && [
            'reinstall',
            t('upgrade.reinstall', {version: row.version}),
        ],
        present &&
            target.order < present.order && [
                'allowDowngrade',
                t('upgrade.downgrade', {from: row.version, version: target.version}),
            ],
    ].filter(Boolean);
}

function open(row, firmware, info, onStarted) {
    const place = h('div');
    const version = selectField({
        label: t('upgrade.to'),
        options: firmware.map(firmwareOption),
        value: proposed(firmware, row),
        on: {change: () => describe()},
    });
    const minutes = numberField({
        label: optional(t('upgrade.timeout')),
        hint: t('upgrade.timeout.help', {time: duration(info.upgradeTimeoutSeconds)}),
        min: 1,
        max: 10080,
        unit: t('minutes'),
    });
    let flags = {};

    function describe() {
        const target = firmware.find((one) => one.version === version.value);
        flags = Object.fromEntries(
            hurdles(row, target, firmware).map(([flag, question]) => [
                flag,
                checkField({label: question}),
            ]),
        );
        fill(
            place,
            h(
                'p.sum',
                t(row.online ? 'upgrade.will' : 'upgrade.will.offline', {
                    device: row.device,
                    from: row.version ?? t('device.no_version'),
                    version: target.version,
                    size: bytes(target.size),
                }),
            ),
            row.hold && notice('warn', t('upgrade.held', {device: row.device})),
            Object.values(flags).map(({node}) => node),
        );
    }

    async function submit() {
        const open_ = Object.values(flags).find(({checked}) => !checked);
        if (open_) {
            open_.control.focus();
            throw new Error(t('upgrade.tick'));
        }
        const {task} = await call('upgradeDevice', {
            product: row.product,
            device: row.device,
            version: version.value,
            ...(minutes.number ? {timeoutSeconds: Math.round(minutes.number * 60)} : {}),
            ...Object.fromEntries(Object.keys(flags).map((flag) => [flag, true])),
        });
        done(t('upgrade.started', {device: row.device, version: version.value}));
        onStarted?.(task);
    }

    describe();
    formDialog({
        title: t('upgrade.one.title', {device: row.device}),
        action: t('upgrade.one'),
        submit,
        fields: {version, timeoutSeconds: minutes},
        content: [
            version.node,
            place,
            h('details', h('summary', t('more.settings')), minutes.node),
        ],
    });
}

export async function upgradeOne(row, onStarted) {
    try {
        const [firmware, info] = await Promise.all([firmwareOf(row.product), infoOf()]);
        if (firmware.length === 0) {
            failed(new Error(t('upgrade.no_firmware', {product: row.product})));
            return;
        }
        open(row, firmware, info, onStarted);
    } catch (error) {
        failed(error);
    }
}

export function upgradeButton(row, onStarted, kind = '') {
    return (
        can('upgradeDevice') &&
        h(
            `button.small${kind}`,
            {type: 'button', on: {click: () => upgradeOne(row, onStarted)}},
            t('upgrade.one'),
            h('span.sr', ` ${row.device}`),
        )
    );
}

export const batchLink = (product, query, words) =>
    h('a.button.primary', {href: link(['upgrade', product, 'batch'], query)}, words);
