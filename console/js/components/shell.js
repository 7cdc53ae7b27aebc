// SPDX-License-Identifier: BSD-3-Clause
// What stands around every page: the sidebar, who is here, whether it is live, the banner.
import {fill, h} from '../dom.js';
import {logout} from '../api.js';
import {onLiveState} from '../live.js';
import {here, link} from '../router.js';
import {can, session} from '../session.js';
import {t} from '../text.js';
import {nextTheme, themeLabel} from '../theme.js';
import {icon} from './icon.js';

const PLACES = [
    ['products', 'products', 'nav.products', link(['products'])],
    ['upgrade', 'upgrade', 'nav.upgrade', link(['upgrade'])],
    ['audit', 'audit', 'nav.audit', link(['audit']), 'listAudit'],
    ['tokens', 'key', 'nav.tokens', link(['tokens']), 'listTokens'],
    ['system', 'system', 'nav.system', link(['system'])],
];
const BELONGS = {tasks: 'upgrade', batches: 'upgrade'};

function liveMark() {
    const node = h('p.live', {role: 'status'});
    onLiveState((state) => fill(node, h(`span.dot.${state}`), t(`live.${state}`)));
    return node;
}

function themeButton() {
    const words = h('span', themeLabel());
    const button = h(
        'button.plain',
        {
            type: 'button',
            on: {
                click: () => {
                    nextTheme();
                    fill(words, themeLabel());
                },
            },
        },
        icon('moon'),
        words,
    );
    return button;
}

function account() {
    const {user, role} = session();
    return h(
        'div.account',
        h('p', h('b', user), ' ', h('span.faint', t(`role.${role}`))),
        h('button.plain', {type: 'button', on: {click: logout}}, icon('out'), t('logout')),
    );
}

export function shell() {
    const main = h('main', {id: 'main', tabindex: '-1'});
    const links = PLACES.filter(([, , , , command]) => !command || can(command)).map(
        ([name, sign, key, href]) => h('a', {href, data: {place: name}}, icon(sign), t(key)),
    );
    const side = h(
        'aside.side',
        {id: 'side', 'aria-label': t('nav.side')},
        h(
            'nav',
            {'aria-label': t('nav.label')},
            h(
                'ul',
                links.map((a) => h('li', a)),
            ),
        ),
        h('div.side-foot', liveMark(), themeButton(), account()),
    );
    const opener = h(
        'button.icon-button.menu-button',
        {
            type: 'button',
            'aria-label': t('nav.open'),
            'aria-expanded': 'false',
            'aria-controls': 'side',
            on: {click: () => open(!side.classList.contains('open'))},
        },
        icon('menu'),
    );
    const brand = h(
        'a.brand',
        {href: link(['products'])},
        h('span.mark', {'aria-hidden': 'true'}, icon('upgrade')),
        'mosquitto-ota',
    );

    function open(on) {
        side.classList.toggle('open', on);
        opener.setAttribute('aria-expanded', String(on));
    }

    return {
        node: h(
            'div.shell',
            h('button.skip', {type: 'button', on: {click: () => main.focus()}}, t('skip')),
            h('header.top', brand, opener),
            side,
            main,
        ),
        main,
        // The address changed.
        mark() {
            open(false);
            const first = here().path[0];
            links.forEach((a) => {
                const current = a.dataset.place === (BELONGS[first] ?? first);
                if (current) {
                    a.setAttribute('aria-current', 'page');
                } else {
                    a.removeAttribute('aria-current');
                }
            });
        },
    };
}
