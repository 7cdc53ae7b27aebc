// SPDX-License-Identifier: BSD-3-Clause
// Tokens: what build servers show instead of a password.
import {fill, h} from '../dom.js';
import {ApiError, call} from '../api.js';
import {ago, day} from '../format.js';
import {heading} from '../page.js';
import {can} from '../session.js';
import {t} from '../text.js';
import {copyButton} from '../components/copy.js';
import {confirmDialog, formDialog} from '../components/dialog.js';
import {empty, notice} from '../components/empty.js';
import {momentField, optional, selectField, textField} from '../components/field.js';
import {icon} from '../components/icon.js';
import {iconButton} from '../components/icon_button.js';
import {pagedList} from '../components/pager.js';
import {table} from '../components/table.js';
import {done} from '../components/toast.js';

const ROLES = ['viewer', 'operator', 'admin'];
const DAYS = 90;
const DAY_MS = 86400000;

// It stays until it is closed: nobody can show the secret again.
function showSecret(name, secret) {
    const text = h('code.secret', {tabindex: '0'}, secret);
    return formDialog({
        title: t('token.made', {name}),
        action: t('token.kept'),
        content: [
            notice('warn', t('token.once')),
            h('p.secret-line', text, copyButton(t('token.secret'), secret)),
            h('p.hint', t('token.use')),
        ],
        submit: () => true,
    });
}

function addToken(reload) {
    const fields = {
        name: textField({
            label: t('token.name'),
            hint: t('token.name.rule'),
            required: true,
            maxlength: '32',
        }),
        role: selectField({
            label: t('token.role'),
            hint: t('token.role.rule'),
            options: ROLES.map((role) => [role, t(`role.${role}`)]),
            value: 'operator',
        }),
        expireAt: momentField({
            label: optional(t('token.expire')),
            hint: t('token.expire.rule'),
            value: Date.now() + DAYS * DAY_MS,
        }),
    };
    let made = null;
    formDialog({
        title: t('token.add'),
        action: t('token.add'),
        fields,
        content: Object.values(fields).map(({node}) => node),
        submit: async () => {
            made = await call('createToken', {
                name: fields.name.value,
                role: fields.role.value,
                ...(fields.expireAt.moment && {expireAt: fields.expireAt.moment}),
            });
            reload();
            if (!made.secret) {
                throw new ApiError('lost', t('token.lost'));
            }
        },
    }).then((yes) => yes && showSecret(made.token.name, made.secret));
}

function revokeToken(row, reload) {
    confirmDialog({
        title: t('token.revoke.title', {name: row.name}),
        text: t('token.revoke.text'),
        action: t('token.revoke'),
        submit: async () => {
            await call('revokeToken', {token: row.token});
            done(t('token.revoked', {name: row.name}));
            reload();
        },
    });
}

function roleCell(row) {
    return [
        t(`role.${row.role}`),
        row.roleNow !== row.role && h('span.tag.bad', t(`token.now.${row.roleNow ?? 'none'}`)),
    ];
}

function columns(reload) {
    return [
        {key: 'name', label: t('token.name'), kind: 'main', cell: (row) => row.name},
        {key: 'role', label: t('token.role'), cell: roleCell},
        {key: 'madeBy', label: t('token.made_by'), cell: (row) => row.madeBy},
        {key: 'lastUsedAt', label: t('token.used'), cell: (row) => ago(row.lastUsedAt)},
        {
            key: 'expireAt',
            label: t('token.expire'),
            cell: (row) => (row.expireAt ? day(row.expireAt) : t('token.never')),
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
            cell: (row) =>
                iconButton({
                    name: 'trash',
                    kind: 'danger',
                    label: t('token.revoke.title', {name: row.name}),
                    title: t('token.revoke'),
                    click: () => revokeToken(row, reload),
                }),
        },
    ];
}

export function tokensView(page) {
    if (!can('listTokens')) {
        fill(
            page.place,
            heading({title: t('nav.tokens')}),
            empty('key', t('tokens.forbidden'), t('audit.forbidden.text')),
        );
        return;
    }
    const add = () =>
        h(
            'button.primary',
            {type: 'button', on: {click: () => addToken(() => list.reload())}},
            icon('plus'),
            t('token.add'),
        );
    const list = pagedList(page, {
        command: 'listTokens',
        key: 'tokens',
        filters: () => ({}),
        table: table({
            label: t('nav.tokens'),
            rowKey: (row) => row.token,
            columns: columns(() => list.reload()),
        }),
        none: () => empty('key', t('tokens.none'), t('tokens.none.text'), add()),
    });
    fill(page.place, heading({title: t('nav.tokens'), actions: [add()]}), list.node);
}
