// SPDX-License-Identifier: BSD-3-Clause
// Stages, one row each; the last one is always everybody.
import {fill, h} from '../dom.js';
import {MIN_SUCCESS} from '../rollout.js';
import {t} from '../text.js';
import {numberField, selectField} from './field.js';
import {icon} from './icon.js';

const MINUTES = 60;

function stageFields(stage, i, changed) {
    const on = {input: changed, change: changed};
    const size = numberField({
        label: t('stage.size'),
        value: stage.count ?? stage.percent,
        min: 0,
        step: 'any',
        on,
    });
    const unit = selectField({
        label: t('stage.of'),
        options: [
            ['percent', t('stage.unit.percent')],
            ['count', t('stage.unit.count')],
        ],
        value: stage.count ? 'count' : 'percent',
        on,
    });
    const min = numberField({
        label: t('stage.min.label'),
        value: stage.minSuccessPercent ?? MIN_SUCCESS,
        min: 0,
        max: 100,
        unit: '%',
        on,
    });
    const soak = numberField({
        label: t('stage.soak.label'),
        value: Math.round((stage.soakSeconds ?? 0) / MINUTES),
        min: 0,
        unit: t('minutes'),
        on,
    });
    const advance = selectField({
        label: t('stage.advance.label'),
        options: [
            ['auto', t('stage.auto')],
            ['manual', t('stage.manual')],
        ],
        value: stage.advance ?? 'auto',
        on,
    });
    return {
        nodes: [size, unit, min, soak, advance].map(({node}) => node),
        read: () => ({
            [unit.value]: size.number ?? 0,
            minSuccessPercent: min.number ?? MIN_SUCCESS,
            soakSeconds: Math.round((soak.number ?? 0) * MINUTES),
            ...(advance.value === 'manual' && {advance: 'manual'}),
        }),
        i,
    };
}

export function stageEditor(changed) {
    const node = h('fieldset.stage-editor', h('legend', t('stages')));
    let rows = [];

    const read = () => [...rows.map((row) => row.read()), {percent: 100}];

    function draw(stages) {
        rows = stages.map((stage, i) => stageFields(stage, i, changed));
        fill(
            node,
            h('legend', t('stages')),
            h(
                'ol',
                rows.map((row, i) =>
                    h(
                        'li',
                        h('b', t('stage.name', {n: i + 1})),
                        h('div.stage-fields', row.nodes),
                        h(
                            'button.icon-button',
                            {
                                type: 'button',
                                'aria-label': t('stage.remove', {n: i + 1}),
                                on: {
                                    click: () => {
                                        draw(
                                            read()
                                                .slice(0, -1)
                                                .filter((_, at) => at !== i),
                                        );
                                        changed();
                                    },
                                },
                            },
                            icon('close'),
                        ),
                    ),
                ),
                h(
                    'li',
                    h('b', t('stage.name', {n: rows.length + 1})),
                    h('span', t('stage.everybody')),
                ),
            ),
            h(
                'button.small',
                {
                    type: 'button',
                    on: {
                        click: () => {
                            draw([
                                ...read().slice(0, -1),
                                {percent: 50, minSuccessPercent: MIN_SUCCESS},
                            ]);
                            changed();
                        },
                    },
                },
                icon('plus'),
                t('stage.add'),
            ),
        );
    }

    draw([]);
    return {node, read, set: (stages) => draw(stages.slice(0, -1))};
}
