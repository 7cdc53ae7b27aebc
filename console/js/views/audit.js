// SPDX-License-Identifier: BSD-3-Clause
// Audit: who asked for which change, and what came of it.
import {fill, h} from '../dom.js';
import {moment} from '../format.js';
import {heading} from '../page.js';
import {replaceQuery} from '../router.js';
import {ADMIN, OPERATOR, SECRETS, can} from '../session.js';
import {t, word} from '../text.js';
import {empty} from '../components/empty.js';
import {momentField, selectField, textField} from '../components/field.js';
import {pagedList} from '../components/pager.js';
import {table} from '../components/table.js';

const TYPING_MS = 400;
const ACTIONS = [...ADMIN, ...OPERATOR].filter((name) => !SECRETS.includes(name)).sort();
const GOOD = 'ok';

const columns = [
    {
        key: 'at',
        label: t('audit.at'),
        cell: (row) => h('time', {datetime: new Date(row.at).toISOString()}, moment(row.at)),
    },
    {key: 'user', label: t('audit.user'), kind: 'main', cell: (row) => row.user},
    {key: 'command', label: t('audit.action'), cell: (row) => h('code', row.command)},
    {
        key: 'target',
        label: t('audit.target'),
        kind: 'wide',
        cell: (row) => row.target ?? h('span.faint', '–'),
    },
    {
        key: 'code',
        label: t('audit.code'),
        cell: (row) => [
            h(`span.tag.${row.code === GOOD ? 'good' : 'bad'}`, word('code', row.code)),
            row.count > 1 && h('span.faint', ` ×${row.count}`),
        ],
    },
    {key: 'client', label: t('audit.client'), kind: 'minor', cell: (row) => row.client},
];

export function auditView(page, _params, query) {
    if (!can('listAudit')) {
        fill(
            page.place,
            heading({title: t('nav.audit')}),
            empty('audit', t('audit.forbidden'), t('audit.forbidden.text')),
        );
        return;
    }
    let timer;
    const fields = {
        user: textField({
            label: t('audit.user'),
            type: 'search',
            value: query.user ?? '',
            on: {
                input: () => {
                    clearTimeout(timer);
                    timer = setTimeout(changed, TYPING_MS);
                },
            },
        }),
        action: selectField({
            label: t('audit.action'),
            options: [['', t('filter.any')], ...ACTIONS.map((name) => [name, name])],
            value: query.action ?? '',
            on: {change: () => changed()},
        }),
        since: momentField({label: t('audit.since'), on: {change: () => changed()}}),
    };
    function filters() {
        return {
            ...(fields.user.value && {user: fields.user.value}),
            ...(fields.action.value && {action: fields.action.value}),
            ...(fields.since.moment && {since: fields.since.moment}),
        };
    }
    function changed() {
        replaceQuery({user: fields.user.value, action: fields.action.value});
        list.reset();
    }
    const rows = table({label: t('nav.audit'), rowKey: (row) => row.key, columns});
    const list = pagedList(page, {
        command: 'listAudit',
        key: 'entries',
        filters,
        table: {...rows, update: (entries) => rows.update(numbered(entries))},
        none: () => empty('audit', t('audit.none'), t('audit.none.text')),
    });
    fill(
        page.place,
        heading({title: t('nav.audit')}),
        h(
            'div.filters',
            {role: 'search', 'aria-label': t('filter.label')},
            Object.values(fields).map(({node}) => node),
        ),
        list.node,
    );
}

// Entries have no number of their own; equal ones are told apart by their place.
function numbered(entries) {
    const seen = new Map();
    return entries.map((entry) => {
        const text = JSON.stringify(entry);
        seen.set(text, (seen.get(text) ?? 0) + 1);
        return {...entry, key: `${text}${seen.get(text)}`};
    });
}
