// SPDX-License-Identifier: BSD-3-Clause
// One batch: bars per stage, failures by cause, and the wheel.
import {fill, h} from '../dom.js';
import {call} from '../api.js';
import {ago, number} from '../format.js';
import {heading, watch} from '../page.js';
import {link} from '../router.js';
import {t, word} from '../text.js';
import {legend, statusBar} from '../components/bar.js';
import {empty, notice} from '../components/empty.js';
import {facts} from '../components/facts.js';
import {taskList} from '../components/task_list.js';
import {
    advice,
    batchActions,
    gateWords,
    progressWords,
    reach,
    settingsOf,
    stateOf,
} from './batch_parts.js';

function stageState(batch, stage) {
    if (stage.state !== 'open' || batch.state === 'paused') {
        return word('stage.state', stage.state);
    }
    return t('stage.needs', {n: stage.needed, successes: stage.successes});
}

function stageRow(batch, stage, i) {
    return h(
        `li.stage.${stage.state}`,
        h(
            'div.stage-head',
            h('b', t('stage.name', {n: i + 1})),
            h('span', reach(stage)),
            h('span.faint', t('stage.devices', {n: stage.total})),
            h('span.stage-state', stageState(batch, stage)),
            stage.openedAt && h('span.faint', t('stage.opened'), ' ', ago(stage.openedAt)),
        ),
        statusBar(stage.counts, stage.total),
        h('p.hint', gateWords(stage, i + 1 === batch.stages.length)),
    );
}

function failureList(batch, failures) {
    const most = Math.max(...failures.map((failure) => failure.count));
    return h(
        'ol.failures',
        failures.map((failure) =>
            h(
                'li',
                h(
                    'div.share',
                    h('i.bad', {vars: {part: `${(failure.count / most) * 100}%`}}),
                    h('b', number(failure.count)),
                ),
                h(
                    'span',
                    word('result', failure.text),
                    failure.resultCode !== null && h('span.faint', ` (${failure.resultCode})`),
                ),
                h(
                    'span.faint',
                    failure.fromVersion
                        ? t('failure.from', {version: failure.fromVersion})
                        : t('failure.from.unknown'),
                ),
            ),
        ),
    );
}

// The batch may not be there yet: its number and product are in the answer of another look.
function failureCard(batch, failures) {
    return [
        h('h2', t('batch.failures')),
        failures.length
            ? [
                  failureList(batch, failures),
                  h(
                      'p',
                      h(
                          'a',
                          {
                              href: link(['upgrade', batch.product ?? '*', 'tasks'], {
                                  batch: batch.batch,
                                  status: 'failed',
                              }),
                          },
                          t('batch.failures.list'),
                      ),
                  ),
              ]
            : h('p.faint', t('batch.failures.none')),
    ];
}

function excludedWords(batch) {
    const left = Object.entries(batch.excluded).filter(([, n]) => n > 0);
    return left.length
        ? left.map(([reason, n]) => t(`excluded.${reason}`, {n})).join(', ')
        : t('none');
}

function overview(batch) {
    const hint = advice(batch);
    return h(
        'section.card',
        h(
            'div.batch-head',
            stateOf(batch),
            h('span', progressWords(batch)),
            h('span.faint', t('batch.confirmed', {n: batch.confirmed})),
            batch.contradicted > 0 &&
                h('span.bad-text', t('batch.contradicted', {n: batch.contradicted})),
        ),
        statusBar(batch.counts, batch.total),
        legend(batch.counts, batch.total),
        hint && notice(batch.state === 'paused' ? 'warn' : 'info', h('p', hint)),
    );
}

function details(batch) {
    return h(
        'section.card',
        h('h2', t('batch.settings')),
        facts([
            ...settingsOf(batch),
            [t('batch.excluded'), excludedWords(batch)],
            [t('created'), ago(batch.createdAt)],
            batch.startAt && [t('batch.start_at'), ago(batch.startAt)],
            [t('batch.started'), ago(batch.startedAt)],
            batch.expireAt && [t('batch.expire'), ago(batch.expireAt)],
            batch.finishedAt && [t('task.finished'), ago(batch.finishedAt)],
        ]),
    );
}

export function batchView(page, {batch: text}) {
    const id = Number(text);
    const head = h('div');
    const actions = h('div.actions');
    const body = h('div');
    const failures = h('section.card');
    const tasks = h('section');
    // The batch as last seen: questions count on it, not on when their button was drawn.
    const shown = {batch: id};
    let titled = '';

    function title(batch) {
        const words = `${batch.product} → ${batch.version}`;
        const name = batch.name ? `${batch.name}` : t('batch.number', {batch: text});
        if (titled !== name) {
            titled = name;
            fill(
                head,
                heading({
                    title: name,
                    after: h('p.faint', words),
                    actions,
                    crumbs: [
                        [t('nav.upgrade'), link(['upgrade'])],
                        [batch.product, link(['upgrade', batch.product, 'devices'])],
                        [t('tab.batches'), link(['upgrade', batch.product, 'batches'])],
                    ],
                }),
            );
        }
    }

    // Buttons keep the focus while the numbers move.
    let drawn = '';
    function steer(batch) {
        const state = JSON.stringify([
            batch.state,
            batch.stages.map((stage) => stage.state),
            batch.counts.failed > 0,
        ]);
        if (drawn !== state && !actions.contains(document.activeElement)) {
            drawn = state;
            fill(
                actions,
                batchActions(shown, () => {
                    document.activeElement?.blur();
                    watching.reload();
                }),
            );
        }
    }

    function show({batch}) {
        Object.assign(shown, batch);
        title(batch);
        steer(batch);
        fill(
            body,
            overview(batch),
            h(
                'section.card',
                h('h2', t('batch.stages')),
                h(
                    'ol.stages',
                    batch.stages.map((stage, i) => stageRow(batch, stage, i)),
                ),
            ),
            h('div.columns', failures, details(batch)),
        );
    }

    fill(
        head,
        heading({
            title: t('batch.number', {batch: text}),
            crumbs: [[t('nav.upgrade'), link(['upgrade'])]],
        }),
    );
    fill(page.place, head, body, tasks);
    const watching = watch(page, {
        place: body,
        show,
        load: (signal) => call('getBatch', {batch: id}, signal),
        wants: (event) => (event.type === 'batch' || event.type === 'task') && event.batch === id,
    });
    // Of a large batch dearer than all the rest: by itself, so that it holds nothing up.
    watch(page, {
        place: failures,
        load: (signal) => call('getStats', {batch: id}, signal),
        show: (stats) => fill(failures, failureCard(shown, stats.failures)),
        wants: (event) =>
            event.type === 'task' &&
            event.batch === id &&
            ['failed', 'succeeded'].includes(event.status),
    });
    const list = taskList(page, {
        filters: () => ({batch: id}),
        show: {batch: false},
        limit: 20,
        none: () => empty('batches', t('batch.no_tasks'), t('batch.no_tasks.text')),
    });
    fill(tasks, h('h2', t('batch.tasks')), list.node);
}
