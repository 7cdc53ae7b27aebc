// SPDX-License-Identifier: BSD-3-Clause
// Form fields: label above, rule below (before it is broken), error in its place.
import {fill, h, newId} from '../dom.js';
import {t} from '../text.js';

function frame(control, {label, hint, id, kind = ''}) {
    const help = h('p.hint', {id: `${id}-hint`}, hint ?? '');
    const error = h('p.field-error', {id: `${id}-error`, 'aria-live': 'polite'});
    control.setAttribute('aria-describedby', `${hint ? `${id}-hint ` : ''}${id}-error`);
    return h(
        `div.field${kind && `.${kind}`}`,
        h('label', {for: id}, label),
        control,
        hint && help,
        error,
    );
}

function wrap(control, settings) {
    const node = frame(control, settings);
    const error = node.querySelector('.field-error');
    return {
        node,
        control,
        get value() {
            return control.value.trim();
        },
        set value(value) {
            control.value = value;
        },
        setError(text) {
            fill(error, text ?? '');
            control.setAttribute('aria-invalid', text ? 'true' : 'false');
        },
    };
}

export function textField({label, hint, value = '', type = 'text', on, list, ...more}) {
    const id = newId('f');
    const control = h('input', {
        id,
        type,
        value,
        autocomplete: 'off',
        spellcheck: 'false',
        list,
        on,
        ...more,
    });
    return wrap(control, {label, hint, id});
}

export function areaField({label, hint, on, rows, ...more}) {
    const id = newId('f');
    const control = h('textarea', {id, rows, spellcheck: 'false', on, ...more});
    return wrap(control, {label, hint, id});
}

// options: [[value, label]] or [value]
export function selectField({label, hint, options, value, on, ...more}) {
    const id = newId('f');
    const control = h(
        'select',
        {id, on, ...more},
        options.map((option) => {
            const [key, words] = Array.isArray(option) ? option : [option, option];
            return h('option', {value: key}, words);
        }),
    );
    if (value !== undefined) {
        control.value = value;
    }
    return wrap(control, {label, hint, id});
}

export function numberField({unit, value, min = 0, max, step = 1, ...rest}) {
    const field = textField({
        type: 'number',
        inputmode: 'numeric',
        min: String(min),
        max: max === undefined ? undefined : String(max),
        step: String(step),
        value: value ?? '',
        ...rest,
    });
    if (unit) {
        const row = h('span.with-unit');
        field.control.replaceWith(row);
        row.append(field.control, h('span.unit', unit));
    }
    return Object.defineProperty(field, 'number', {
        get: () => (field.value === '' ? undefined : Number(field.value)),
    });
}

export function checkField({label, hint, checked = false, on}) {
    const id = newId('f');
    const control = h('input', {
        id,
        type: 'checkbox',
        checked,
        on,
        'aria-describedby': hint ? `${id}-hint` : undefined,
    });
    return {
        node: h(
            'div.check',
            control,
            h('div', h('label', {for: id}, label), hint && h('p.hint', {id: `${id}-hint`}, hint)),
        ),
        control,
        get checked() {
            return control.checked;
        },
        setError() {},
    };
}

// options: [[value, label, hint]]
export function radioField({legend, options, value, on}) {
    const name = newId('r');
    const node = h(
        'fieldset.radios',
        h('legend', legend),
        options.map(([key, label, hint]) => {
            const id = newId('f');
            return h(
                'div.check',
                h('input', {
                    id,
                    type: 'radio',
                    name,
                    value: key,
                    checked: key === value,
                    on: {change: () => on?.(key)},
                    'aria-describedby': hint ? `${id}-hint` : undefined,
                }),
                h(
                    'div',
                    h('label', {for: id}, label),
                    hint && h('p.hint', {id: `${id}-hint`}, hint),
                ),
            );
        }),
    );
    return {
        node,
        get value() {
            return node.querySelector('input:checked')?.value;
        },
        set value(key) {
            node.querySelectorAll('input').forEach((input) => {
                input.checked = input.value === key;
            });
        },
    };
}

// Puts an ApiError to the field that it is about; true where there is one.
export function showFieldError(fields, error) {
    Object.values(fields).forEach((field) => field?.setError?.(''));
    const field = error?.field && fields[error.field];
    if (!field?.setError || !field.node?.isConnected) {
        return false;
    }
    field.setError(error.message);
    field.control?.focus();
    return true;
}

// A moment in local time; gives Unix milliseconds or undefined.
export function momentField({value, ...rest}) {
    const local = value
        ? new Date(value - new Date(value).getTimezoneOffset() * 60000).toISOString().slice(0, 16)
        : '';
    const field = textField({type: 'datetime-local', value: local, ...rest});
    return Object.defineProperty(field, 'moment', {
        get: () => (field.control.value ? new Date(field.control.value).getTime() : undefined),
    });
}

export const optional = (label) => [label, ' ', h('span.optional', t('optional'))];
