// SPDX-License-Identifier: BSD-3-Clause
// "What will happen": the answer of a dry run in words and bars.
import {fill, h} from '../dom.js';
import {bytes, duration, number, share} from '../format.js';
import {t} from '../text.js';
import {notice} from './empty.js';
import {icon} from './icon.js';

function left(excluded) {
    const reasons = Object.entries(excluded).filter(([, n]) => n > 0);
    return (
        reasons.length > 0 &&
        h(
            'div',
            h('h3', t('dry.excluded')),
            h(
                'ul',
                reasons.map(([reason, n]) => h('li', t(`excluded.${reason}`, {n}))),
            ),
        )
    );
}

function stageBars(sizes, total) {
    return (
        sizes.length > 1 &&
        h(
            'div',
            h('h3', t('stages')),
            h(
                'ol.dry-stages',
                sizes.map((size, i) =>
                    h(
                        'li',
                        h('span', t('stage.name', {n: i + 1})),
                        h(
                            'div.share',
                            h('i', {vars: {part: `${total ? (size / total) * 100 : 0}%`}}),
                        ),
                        h('b', number(size)),
                        h('span.faint', share(size, total)),
                    ),
                ),
            ),
        )
    );
}

export function dryRunCard(again) {
    const sentence = h('p.big-words', {role: 'status', 'aria-live': 'polite'});
    const rest = h('div');
    const node = h(
        'section.card.dry-run',
        h(
            'div.dry-head',
            h('h2', t('dry.title')),
            h('button.small', {type: 'button', on: {click: again}}, icon('retry'), t('dry.again')),
        ),
        sentence,
        rest,
    );
    return {
        node,
        busy() {
            node.classList.add('busy');
        },
        show(run, form) {
            node.classList.remove('busy');
            fill(sentence, t('dry.sentence', {n: run.total, version: form.version}));
            fill(
                rest,
                run.total === 0 &&
                    notice(
                        'warn',
                        h('p', t(run.matched === 0 ? 'dry.nobody' : 'dry.all_excluded')),
                    ),
                run.matched !== run.total && h('p.faint', t('dry.matched', {n: run.matched})),
                left(run.excluded),
                stageBars(run.stages, run.total),
                run.total > 0 &&
                    h(
                        'dl.facts',
                        h('div', h('dt', t('dry.bytes')), h('dd', bytes(run.bytes))),
                        h(
                            'div',
                            h('dt', t('dry.time')),
                            h('dd', t('dry.at_least', {time: duration(run.estimatedSeconds)})),
                        ),
                    ),
            );
        },
        fail(message) {
            node.classList.remove('busy');
            fill(sentence);
            fill(rest, notice('warn', h('p', message)));
        },
    };
}
