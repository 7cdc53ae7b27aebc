// SPDX-License-Identifier: BSD-3-Clause
// Tables whose rows have keys. A refresh touches only rows that changed, so that neither focus nor
// selection is lost. On a phone each row becomes a card; the roles keep it a table for everybody.
import {fill, focusables, h} from '../dom.js';

// columns: [{key, label, cell(row) → node or text, kind?: 'number'|'actions'|'minor'|'main'}]
export function table({label, columns, rowKey, rowClass}) {
    const body = h('tbody', {role: 'rowgroup'});
    const head = h(
        'thead',
        {role: 'rowgroup'},
        h(
            'tr',
            {role: 'row'},
            columns.map((column) =>
                h(
                    `th${column.kind ? `.${column.kind}` : ''}`,
                    {role: 'columnheader', scope: 'col'},
                    column.kind === 'actions' ? h('span.sr', column.label) : column.label,
                ),
            ),
        ),
    );
    const node = h('table', {role: 'table', 'aria-label': label}, head, body);
    const known = new Map(); // key → {tr, text, row}

    function makeRow(row) {
        return h(
            `tr${rowClass?.(row) ? `.${rowClass(row)}` : ''}`,
            {role: 'row'},
            columns.map((column) =>
                h(
                    `td${column.kind ? `.${column.kind}` : ''}`,
                    {role: 'cell', data: {label: column.label}},
                    column.cell(row),
                ),
            ),
        );
    }

    function rebuild(old, row) {
        const at = focusables(old).indexOf(document.activeElement);
        const tr = makeRow(row);
        old.replaceWith(tr);
        if (at >= 0) {
            (focusables(tr)[at] ?? focusables(tr)[0])?.focus();
        }
        return tr;
    }

    function keep(row) {
        const key = rowKey(row);
        const text = JSON.stringify(row);
        const entry = known.get(key);
        if (!entry) {
            known.set(key, {tr: makeRow(row), text, row});
        } else if (entry.text !== text) {
            known.set(key, {tr: rebuild(entry.tr, row), text, row});
        }
        return known.get(key).tr;
    }

    // Moves a row only where it isn't in its place: moving takes the focus away.
    function order(rows) {
        rows.forEach((tr, i) => {
            if (body.children[i] !== tr) {
                body.insertBefore(tr, body.children[i] ?? null);
            }
        });
    }

    return {
        node,
        update(rows) {
            const trs = rows.map(keep);
            const wanted = new Set(rows.map(rowKey));
            known.forEach((entry, key) => {
                if (!wanted.has(key)) {
                    entry.tr.remove();
                    known.delete(key);
                }
            });
            order(trs);
        },
        // Changes one row in place: patch(row) → row. False where it isn't shown.
        patch(key, change) {
            const entry = known.get(key);
            if (entry) {
                keep(change(entry.row));
            }
            return Boolean(entry);
        },
        rows: () => [...known.values()].map((entry) => entry.row),
        clear() {
            known.clear();
            fill(body);
        },
    };
}
