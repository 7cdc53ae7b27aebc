// SPDX-License-Identifier: BSD-3-Clause
// A list that is read page by page, never more than one page in memory: table, pager, empty state,
// live refresh of the page in view.
import {fill, h} from '../dom.js';
import {page as readPage} from '../api.js';
import {t} from '../text.js';
import {watch} from '../page.js';
import {icon} from './icon.js';
import {skeleton} from './empty.js';

const LIMIT = 50;

// pagedList(page, {command, key, table, filters() → fields, total() → number?, none() → node,
//                  wants(event) → bool, patch(event) → bool, onRows?(rows)})
export function pagedList(
    view,
    {command, key, table, filters, total, none, wants, patch, onRows, limit = LIMIT},
) {
    const cursors = [undefined]; // of each page up to the one in view
    let next;
    const holder = h('div.list');
    const range = h('p.range', {role: 'status', 'aria-live': 'polite'});
    const previous = h(
        'button.icon-text',
        {type: 'button', on: {click: () => turn(-1)}},
        icon('left'),
        t('page.previous'),
    );
    const following = h(
        'button.icon-text',
        {type: 'button', on: {click: () => turn(1)}},
        t('page.next'),
        icon('right'),
    );
    const pager = h('nav.pager', {'aria-label': t('page.label')}, range, previous, following);
    const node = h('div.paged', holder, pager);

    function turn(step) {
        if (step > 0 ? !next : cursors.length === 1) {
            return; // pressed again before the page came
        }
        if (step > 0) {
            cursors.push(next);
        } else {
            cursors.pop();
        }
        restart();
        node.scrollIntoView({block: 'nearest'});
    }

    function restart() {
        next = undefined; // of the page that was in view
        table.clear();
        fill(holder, skeleton());
        watching.reload();
    }

    function sayRange(count) {
        const first = (cursors.length - 1) * limit + 1;
        const all = total?.();
        const end = first + count - 1;
        const words =
            all !== undefined && all >= end
                ? t('page.range.of', {first, last: end, n: all})
                : t('page.range', {first, last: end});
        fill(range, count ? words : '');
    }

    function show({rows, next: more}) {
        next = more;
        const pressed = document.activeElement;
        previous.disabled = cursors.length === 1;
        following.disabled = !more;
        if (pressed === previous && previous.disabled) {
            following.focus(); // a disabled button loses the focus, and the keyboard its place
        } else if (pressed === following && following.disabled) {
            previous.focus();
        }
        previous.hidden = cursors.length === 1 && !more;
        following.hidden = previous.hidden;
        sayRange(rows.length);
        if (rows.length > 0) {
            table.update(rows);
            if (holder.firstChild !== table.node) {
                fill(holder, table.node);
            }
        } else {
            table.clear();
            fill(holder, more ? farther() : none());
        }
        onRows?.(rows);
    }

    // Many rows were looked at and none fits so far.
    function farther() {
        return h(
            'div.empty',
            h('p', t('page.farther')),
            h('button', {type: 'button', on: {click: () => turn(1)}}, t('page.look')),
        );
    }

    function read(signal) {
        return readPage(command, key, filters(), {
            limit,
            cursor: cursors[cursors.length - 1],
            signal,
            onLook: (look) => look > 1 && fill(range, t('page.looking')),
        });
    }

    const watching = watch(view, {load: read, show, wants, patch, place: holder});
    return {
        node,
        // Other filters: from the first page.
        reset() {
            cursors.splice(1);
            restart();
        },
        reload: watching.reload,
        soon: watching.soon,
    };
}
