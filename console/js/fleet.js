// SPDX-License-Identifier: BSD-3-Clause
// What several views ask about a product: its versions and firmware, in the order people expect.
import {call, page as readPage} from './api.js';
import {number} from './format.js';
import {t} from './text.js';

const MANY = 1000;
const natural = new Intl.Collator('en', {numeric: true});

// All versions, uploaded or reported, highest first: [{version, uploaded, devices}].
export async function versionsOf(product, signal) {
    const {rows} = await readPage('listVersions', 'versions', {product}, {limit: MANY, signal});
    return rows.sort((a, b) => natural.compare(b.version, a.version));
}

// Firmware, the newest (by order) first.
export async function firmwareOf(product, signal) {
    const {rows} = await readPage('listFirmware', 'firmware', {product}, {limit: MANY, signal});
    return rows.sort((a, b) => b.order - a.order);
}

export async function productOf(product, signal) {
    const {rows} = await readPage('listProducts', 'products', {}, {limit: MANY, signal});
    return rows.find((row) => row.product === product);
}

export const versionOption = (row) => [
    row.version,
    t('version.option', {version: row.version, devices: number(row.devices), n: row.devices}),
];

export const firmwareOption = (row) => [
    row.version,
    t('firmware.option', {version: row.version, file: row.filename}),
];

export const infoOf = (signal) => call('getInfo', {}, signal);
