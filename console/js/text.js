// SPDX-License-Identifier: BSD-3-Clause
// Words for people come from one table a language; this finds them.
import en from './strings/en.js';

const TABLES = {en};
const language =
    (navigator.languages ?? ['en']).map((tag) => tag.slice(0, 2)).find((tag) => TABLES[tag]) ??
    'en';
const table = TABLES[language];
// Numbers and dates as the browser's owner writes them, where that is the table's language.
const locale = (navigator.languages ?? []).find((tag) => tag.startsWith(language)) ?? language;
const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(locale);

document.documentElement.lang = language;

export {locale};

function template(key, vars) {
    const entry = table[key];
    if (entry === undefined) {
        throw new Error(`no words for ${key}`);
    }
    return typeof entry === 'string' ? entry : (entry[plurals.select(vars.n)] ?? entry.other);
}

function shown(value) {
    return typeof value === 'number' ? numbers.format(value) : value;
}

// t('key', {n: 3, name: 'lamp'}): {n} chooses the plural; numbers get their separators.
export function t(key, vars = {}) {
    return template(key, vars).replace(/\{(\w+)\}/g, (_, name) => shown(vars[name]) ?? '');
}

// As t(), where some values are elements: gives text and nodes in order.
export function tx(key, vars = {}) {
    return template(key, vars)
        .split(/(\{\w+\})/)
        .filter(Boolean)
        .map((part) => (part.startsWith('{') ? shown(vars[part.slice(1, -1)]) : part));
}

// Words of the wire: t('status.downloading'); an unknown one is shown as it is.
export function word(group, name) {
    const key = `${group}.${name}`;
    return table[key] === undefined ? String(name) : t(key);
}
