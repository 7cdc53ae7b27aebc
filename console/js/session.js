// SPDX-License-Identifier: BSD-3-Clause
// Who is here and what he may do. A button that would be refused isn't shown.

const RANK = {viewer: 1, operator: 2, admin: 3};

// As plugin/command_table.h has it; tests/console holds the two together. What isn't here reads.
export const ADMIN = [
    'createProduct',
    'updateProduct',
    'deleteProduct',
    'addFirmware',
    'uploadFirmwareBlock',
    'commitFirmware',
    'abortFirmware',
    'deleteFirmware',
    'createDevice',
    'deleteDevice',
    'bindDevice',
    'unbindDevice',
    'setDeviceSecret',
    'deleteDeviceSecret',
    'listAudit',
    'createToken',
    'listTokens',
    'revokeToken',
    'backup',
];
export const OPERATOR = [
    'updateDevice',
    'upgradeDevice',
    'cancelTask',
    'retryTask',
    'createBatch',
    'addBatchDevices',
    'startBatch',
    'updateBatch',
    'pauseBatch',
    'resumeBatch',
    'advanceBatch',
    'cancelBatch',
    'retryBatch',
];

let current = null;
const listeners = new Set();

export const session = () => current;

export function setSession(next) {
    current = next;
    listeners.forEach((listener) => listener(current));
}

export function onSession(listener) {
    listeners.add(listener);
}

function needed(command) {
    if (ADMIN.includes(command)) {
        return RANK.admin;
    }
    return OPERATOR.includes(command) ? RANK.operator : RANK.viewer;
}

export function can(command) {
    return (RANK[current?.role] ?? 0) >= needed(command);
}

// What admins alone may read.
export const SECRETS = ['listAudit', 'listTokens'];

// Changes something: takes a requestId.
export const changes = (command) =>
    !SECRETS.includes(command) && needed(command) > RANK.viewer;
