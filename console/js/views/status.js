// SPDX-License-Identifier: BSD-3-Clause
// Upgrade status list: live, in the seed's words.
import {fill, h} from '../dom.js';
import {call} from '../api.js';
import {firmwareOf} from '../fleet.js';
import {watch} from '../page.js';
import {link, replaceQuery} from '../router.js';
import {t, word} from '../text.js';
import {STATUSES} from '../components/badge.js';
import {empty} from '../components/empty.js';
import {selectField, textField} from '../components/field.js';
import {iconButton} from '../components/icon_button.js';
import {taskList} from '../components/task_list.js';
import {ALL, upgradeFrame} from './frames.js';

const NAME = /^[A-Za-z0-9_:-]{0,48}$/;
const TYPING_MS = 400;

// One button a status, with how many there are; a second click takes the filter away.
function chips(choose) {
    const node = h('div.chips', {role: 'group', 'aria-label': t('status.filter')});
    return {
        node,
        show(counts, current) {
            fill(
                node,
                STATUSES.map((status) =>
                    h(
                        `button.chip.s-${status}`,
                        {
                            type: 'button',
                            'aria-pressed': String(status === current),
                            on: {click: () => choose(status === current ? '' : status)},
                        },
                        word('status', status),
                        counts && h('b', t('n', {n: counts[status] ?? 0})),
                    ),
                ),
            );
        },
    };
}

function versionSelect(page, product, value, changed) {
    const field = selectField({
        label: t('task.target'),
        options: [['', t('filter.any_version')], ...(value ? [[value, value]] : [])],
        value: value ?? '',
        on: {change: changed},
    });
    if (product !== ALL) {
        firmwareOf(product, page.signal).then(
            (firmware) => {
                const names = firmware.map(({version}) => version);
                const present = field.value;
                fill(
                    field.control,
                    h('option', {value: ''}, t('filter.any_version')),
                    [...new Set([...names, ...(present ? [present] : [])])].map((name) =>
                        h('option', {value: name}, name),
                    ),
                );
                field.value = present;
            },
            () => {},
        );
    }
    return field;
}

function deviceField(value, changed) {
    let timer;
    const field = textField({
        label: t('device'),
        type: 'search',
        value,
        placeholder: t('filter.whole_name'),
        on: {
            input: () => {
                clearTimeout(timer);
                const good = NAME.test(field.value);
                field.setError(good ? '' : t('device.rule'));
                if (good) {
                    timer = setTimeout(changed, TYPING_MS);
                }
            },
        },
    });
    return field;
}

export function statusView(page, {product}, query) {
    const every = product === ALL;
    const state = {status: query.status ?? '', batch: query.batch ?? ''};
    let counts = null;
    const fields = {
        version: versionSelect(page, product, query.version, () => changed()),
        device: deviceField(query.device ?? '', () => changed()),
    };
    const bar = chips((status) => {
        state.status = status;
        changed();
    });
    const batchTag = h('div');
    const body = upgradeFrame(page, product, 'tasks');

    const asked = () => ({
        ...state,
        version: fields.version.value,
        device: every ? '' : fields.device.value,
    });
    function filters() {
        const {status, batch, version, device} = asked();
        return {
            ...(!every && {product}),
            ...(status && {status}),
            ...(batch && {batch: Number(batch)}),
            ...(version && {version}),
            ...(device && {device}),
        };
    }

    function changed() {
        replaceQuery(asked());
        bar.show(counts, state.status);
        showBatch();
        list.reset();
    }

    function showBatch() {
        fill(
            batchTag,
            state.batch &&
                h(
                    'p.filter-tag',
                    t('status.of_batch'),
                    ' ',
                    h(
                        'a',
                        {href: link(['batches', state.batch])},
                        t('batch.number', {batch: state.batch}),
                    ),
                    iconButton({
                        name: 'close',
                        kind: 'small',
                        label: t('filter.clear'),
                        click: () => {
                            state.batch = '';
                            changed();
                        },
                    }),
                ),
        );
    }

    function clear() {
        state.status = '';
        state.batch = '';
        fields.version.value = '';
        fields.device.value = '';
        changed();
    }

    function none() {
        if (Object.values(asked()).some(Boolean)) {
            return empty(
                'search',
                t('tasks.no_match'),
                t('tasks.no_match.text'),
                h('button', {type: 'button', on: {click: clear}}, t('filter.clear')),
            );
        }
        return empty(
            'upgrade',
            t('tasks.none'),
            t('tasks.none.text'),
            !every &&
                h('a.button', {href: link(['upgrade', product, 'devices'])}, t('tab.upgrade')),
        );
    }

    const list = taskList(page, {filters, none, show: {product: every}});
    if (!every || state.batch) {
        watch(page, {
            place: h('div'),
            load: (signal) =>
                call('getStats', state.batch ? {batch: Number(state.batch)} : {product}, signal),
            show: ({statuses}) => {
                counts = statuses;
                bar.show(counts, state.status);
            },
            wants: (event) => event.type === 'task' || event.type === 'presence',
        });
    }
    bar.show(counts, state.status);
    showBatch();
    fill(
        body,
        bar.node,
        h(
            'div.filters',
            {role: 'search', 'aria-label': t('filter.label')},
            fields.version.node,
            !every && fields.device.node,
            batchTag,
        ),
        list.node,
    );
}
