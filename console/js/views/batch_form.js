// SPDX-License-Identifier: BSD-3-Clause
// Batch upgrade firmware: who, to what, how carefully, how fast, when. The dry run stands beside it
// and follows each change.
import {fill, h} from '../dom.js';
import {call, isAbort} from '../api.js';
import {bytes, duration, moment} from '../format.js';
import {firmwareOf, firmwareOption, infoOf, versionsOf} from '../fleet.js';
import {heading, watch} from '../page.js';
import {brakeAfter, requestOf, stagesOf} from '../rollout.js';
import {go, link} from '../router.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {confirmDialog} from '../components/dialog.js';
import {dryRunCard} from '../components/dry_run.js';
import {empty} from '../components/empty.js';
import {
    checkField,
    momentField,
    numberField,
    optional,
    radioField,
    selectField,
    showFieldError,
    textField,
} from '../components/field.js';
import {stageEditor} from '../components/stage_editor.js';
import {done} from '../components/toast.js';
import {tagsOf} from './devices.js';
import {rememberProduct} from './frames.js';

const CALM_MS = 400;
const PACE = 600;
const IN_FLIGHT = 500;
const THRESHOLD = 5;

function section(title, hint, ...content) {
    return h('fieldset.card.form-section', h('legend', title), hint && h('p.hint', hint), content);
}

// The versions that devices run, to tick.
function versionChecks(versions, ticked, changed) {
    const boxes = versions
        .filter((row) => row.devices > 0 || row.version === ticked)
        .map((row) => ({
            row,
            field: checkField({
                label: t('version.option', {
                    version: row.version,
                    n: row.devices,
                    devices: row.devices,
                }),
                checked: row.version === ticked,
                on: {change: changed},
            }),
        }));
    return {
        node: h(
            'div.checks',
            {role: 'group', 'aria-label': t('target.versions')},
            boxes.map(({field}) => field.node),
            boxes.length === 0 && h('p.hint', t('target.no_versions')),
        ),
        get value() {
            return boxes.filter(({field}) => field.checked).map(({row}) => row.version);
        },
    };
}

// Everything that can be filled in; `on` hears of each change.
function makeFields(firmware, versions, info, query, on) {
    const listen = {input: on, change: on};
    return {
        version: selectField({
            label: t('upgrade.to'),
            options: firmware.map(firmwareOption),
            value: firmware[0].version,
            on: listen,
        }),
        name: textField({
            label: optional(t('batch.name')),
            hint: t('batch.name.help'),
            maxlength: '256',
            on: listen,
        }),
        which: radioField({
            legend: t('batch.which'),
            value: query.version || versions.some((row) => row.devices > 0) ? 'versions' : 'all',
            on,
            options: [
                ['versions', t('which.versions'), t('which.versions.help')],
                ['all', t('which.all'), t('which.all.help')],
            ],
        }),
        versions: versionChecks(versions, query.version, on),
        tags: textField({
            label: optional(t('tags')),
            hint: t('target.tags.help'),
            value: query.tag ?? '',
            on: listen,
        }),
        online: selectField({
            label: t('device.connection'),
            options: [
                ['', t('filter.any')],
                ['yes', t('target.online')],
                ['no', t('target.offline')],
            ],
            value: query.online ?? '',
            on: listen,
        }),
        way: radioField({
            legend: t('way'),
            value: 'careful',
            on,
            options: ['careful', 'quick', 'once', 'own'].map((way) => [
                way,
                t(`way.${way}`),
                t(`way.${way}.help`),
            ]),
        }),
        ratePerMinute: numberField({
            label: optional(t('batch.rate')),
            value: PACE,
            min: 1,
            unit: t('per_minute'),
            hint: t('batch.rate.help'),
            on: listen,
        }),
        maxInFlight: numberField({
            label: t('batch.in_flight'),
            value: IN_FLIGHT,
            min: 1,
            hint: t('batch.in_flight.help'),
            on: listen,
        }),
        thresholdPercent: numberField({
            label: optional(t('batch.threshold.percent')),
            value: THRESHOLD,
            min: 1,
            max: 100,
            unit: '%',
            hint: t('batch.threshold.help'),
            on: listen,
        }),
        thresholdMin: numberField({label: t('batch.threshold.min'), value: 20, min: 1, on: listen}),
        retries: numberField({
            label: t('batch.retries'),
            value: 0,
            min: 0,
            max: 10,
            hint: t('batch.retries.help'),
            on: listen,
        }),
        retryMinutes: numberField({
            label: t('batch.retry.delay'),
            value: 10,
            min: 1,
            unit: t('minutes'),
            on: listen,
        }),
        timeoutMinutes: numberField({
            label: optional(t('upgrade.timeout')),
            min: 1,
            max: 10080,
            unit: t('minutes'),
            hint: t('upgrade.timeout.help', {time: duration(info.upgradeTimeoutSeconds)}),
            on: listen,
        }),
        gate: radioField({
            legend: t('batch.gate'),
            value: 'confirmed',
            on,
            options: ['confirmed', 'done'].map((gate) => [
                gate,
                t(`gate.${gate}`),
                t(`gate.${gate}.help`),
            ]),
        }),
        startAt: momentField({
            label: optional(t('batch.start_at')),
            hint: t('batch.start_at.help'),
            on: listen,
        }),
        expireAt: momentField({
            label: optional(t('batch.expire')),
            hint: t('batch.expire.help'),
            on: listen,
        }),
        mode: radioField({
            legend: t('batch.mode'),
            value: 'snapshot',
            on,
            options: ['snapshot', 'continuous'].map((mode) => [
                mode,
                t(`mode.${mode}`),
                t(`mode.${mode}.help`),
            ]),
        }),
        override: checkField({
            label: t('batch.override'),
            hint: t('batch.override.help'),
            on: listen,
        }),
        reinstall: checkField({
            label: t('batch.reinstall'),
            hint: t('batch.reinstall.help'),
            on: listen,
        }),
        allowDowngrade: checkField({
            label: t('batch.downgrade'),
            hint: t('batch.downgrade.help'),
            on: listen,
        }),
    };
}

function readForm(fields, editor, total) {
    const way = fields.way.value;
    const stages = way === 'own' ? editor.read() : way === 'once' ? [] : stagesOf(way, total);
    const numbers = [
        'ratePerMinute',
        'maxInFlight',
        'thresholdPercent',
        'thresholdMin',
        'retries',
        'retryMinutes',
    ];
    return {
        version: fields.version.value,
        name: fields.name.value,
        which: fields.which.value,
        versions: fields.versions.value,
        tags: tagsOf(fields.tags.value),
        online: fields.online.value,
        stages: stages.length > 1 ? stages : [],
        ...Object.fromEntries(numbers.map((key) => [key, fields[key].number])),
        timeoutMinutes: fields.timeoutMinutes.number,
        gate: fields.gate.value,
        mode: fields.mode.value,
        startAt: fields.startAt.moment,
        expireAt: fields.expireAt.moment,
        override: fields.override.checked,
        reinstall: fields.reinstall.checked,
        allowDowngrade: fields.allowDowngrade.checked,
    };
}

function layout(fields, editor, load) {
    const nodes = (...names) => names.map((name) => fields[name].node);
    return [
        section(
            t('batch.which.title'),
            null,
            nodes('which', 'versions'),
            h('div.row', nodes('tags', 'online')),
        ),
        section(t('batch.what.title'), null, h('div.row', nodes('version', 'name'))),
        section(t('batch.how.title'), t('batch.how.help'), nodes('way'), editor.node),
        section(
            t('batch.pace.title'),
            null,
            h('div.row', nodes('ratePerMinute', 'maxInFlight')),
            load,
        ),
        section(
            t('batch.brake.title'),
            t('batch.brake.help'),
            h('div.row', nodes('thresholdPercent', 'thresholdMin')),
        ),
        section(
            t('batch.when.title'),
            t('batch.when.help'),
            h('div.row', nodes('startAt', 'expireAt')),
        ),
        h(
            'details.card.form-section',
            h('summary', t('more.settings')),
            nodes('mode', 'gate'),
            h('div.row', nodes('retries', 'retryMinutes', 'timeoutMinutes')),
            nodes('override', 'reinstall', 'allowDowngrade'),
        ),
    ];
}

function form(page, product, query, [firmware, versions, info]) {
    let timer;
    let asking = null;
    let total = 0; // of the last dry run: what the defaults depend on
    let counted = false;
    const editor = stageEditor(() => changed());
    const fields = makeFields(firmware, versions, info, query, () => changed());
    const load = h('p.hint', {'aria-live': 'polite'});
    const dry = dryRunCard(() => run());
    const start = h('button.primary.wide', {type: 'submit'}, t('batch.go.plain'));
    const problem = h('p.form-error', {role: 'alert'});
    let way = fields.way.value;
    let brakeTouched = false;

    fields.thresholdMin.control.addEventListener('input', () => {
        brakeTouched = true;
    });

    const read = () => readForm(fields, editor, total);
    const sizeOf = (version) => firmware.find((one) => one.version === version)?.size ?? 0;
    const nameFields = {
        ...fields,
        timeoutSeconds: fields.timeoutMinutes,
        failureThreshold: fields.thresholdPercent,
        retry: fields.retries,
    };

    function follow() {
        const now = read();
        if (fields.way.value === 'own' && way !== 'own') {
            editor.set(
                stagesOf(way === 'once' ? 'quick' : way, total).length
                    ? stagesOf(way === 'once' ? 'quick' : way, total)
                    : [{percent: 100}],
            );
        }
        way = fields.way.value;
        editor.node.hidden = way !== 'own';
        fields.way.node.hidden = now.mode === 'continuous';
        fields.versions.node.hidden = now.which !== 'versions';
        fields.retryMinutes.node.hidden = !now.retries;
        fields.reinstall.node.hidden = now.mode === 'continuous';
        fill(
            load,
            now.ratePerMinute
                ? t('batch.load', {size: bytes((now.ratePerMinute * sizeOf(now.version)) / 60)})
                : t('batch.load.free'),
        );
    }

    function changed() {
        follow();
        clearTimeout(timer);
        timer = setTimeout(run, CALM_MS);
    }

    function say(run_, now) {
        dry.show(run_, now);
        start.disabled = run_.total === 0 && now.mode !== 'continuous';
        fill(
            start,
            now.mode === 'continuous'
                ? t('batch.go.continuous')
                : t(now.startAt ? 'batch.go.later' : 'batch.go', {n: run_.total}),
        );
    }

    // The defaults follow the fleet's size, which the first answer tells: then once more.
    async function run() {
        const now = read();
        asking?.abort();
        const mine = new AbortController();
        asking = mine;
        if (now.which === 'versions' && now.versions.length === 0) {
            start.disabled = true;
            dry.fail(t('target.choose'));
            return;
        }
        dry.busy();
        try {
            const answer = await call(
                'createBatch',
                {...requestOf(product, now), dryRun: true},
                mine.signal,
            );
            if (page.ended) {
                return;
            }
            showFieldError(nameFields, null);
            const known = counted && total === answer.total;
            total = answer.total;
            counted = true;
            if (!known && !brakeTouched) {
                fields.thresholdMin.value = brakeAfter(total);
            }
            if (!known && way !== 'own' && way !== 'once') {
                run();
                return;
            }
            say(answer, now);
        } catch (error) {
            if (!isAbort(error) && !page.ended) {
                start.disabled = true;
                dry.fail(error.message);
            }
        }
    }

    function ask(now) {
        const first = now.stages[0];
        confirmDialog({
            title: t('batch.confirm.title', {n: total, version: now.version}),
            kind: 'primary',
            text: [
                t('batch.confirm.text', {n: total, product, version: now.version}),
                first && now.mode !== 'continuous'
                    ? t('batch.confirm.stages', {n: now.stages.length})
                    : now.mode === 'continuous'
                      ? t('batch.confirm.continuous')
                      : t('batch.confirm.once'),
                now.startAt
                    ? t('batch.confirm.later', {time: moment(now.startAt)})
                    : t('batch.confirm.now'),
            ].join(' '),
            action: t('batch.confirm.action'),
            submit: async () => {
                const {batch} = await call('createBatch', requestOf(product, now));
                done(t('batch.created', {batch: String(batch.batch), n: total}));
                go(['batches', batch.batch]);
            },
        });
    }

    function submit(event) {
        event.preventDefault();
        fill(problem);
        if (!start.disabled) {
            ask(read());
        }
    }

    follow();
    run();
    return h(
        'form.batch-form',
        {novalidate: true, on: {submit}},
        h('div.form-main', layout(fields, editor, load)),
        h('aside', {'aria-label': t('dry.title')}, h('div.sticky', dry.node, problem, start)),
    );
}

export function batchFormView(page, {product}, query) {
    const crumbs = [
        [t('nav.upgrade'), link(['upgrade', product, 'devices'])],
        [t('tab.batches'), link(['upgrade', product, 'batches'])],
    ];
    const body = h('div');
    let drawn = false;
    rememberProduct(product);
    fill(page.place, heading({title: t('batch.form.title', {product}), crumbs}), body);
    if (!can('createBatch')) {
        fill(body, empty('batches', t('forbidden.title'), t('forbidden.text')));
        return;
    }
    watch(page, {
        place: body,
        load: async (signal) =>
            drawn
                ? null
                : Promise.all([
                      firmwareOf(product, signal),
                      versionsOf(product, signal),
                      infoOf(signal),
                  ]),
        show: (data) => {
            if (drawn || !data) {
                return; // what somebody fills in isn't drawn anew
            }
            drawn = data[0].length > 0;
            fill(
                body,
                drawn
                    ? form(page, product, query, data)
                    : empty(
                          'file',
                          t('firmware.none'),
                          t('upgrade.no_firmware', {product}),
                          h(
                              'a.button',
                              {href: link(['products', product, 'firmware'])},
                              t('tab.firmware'),
                          ),
                      ),
            );
        },
    });
}
