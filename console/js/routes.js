// SPDX-License-Identifier: BSD-3-Clause
// Which address is which view.
import {auditView} from './views/audit.js';
import {batchView} from './views/batch.js';
import {batchFormView} from './views/batch_form.js';
import {batchesView} from './views/batches.js';
import {deviceView} from './views/device.js';
import {devicesView} from './views/devices.js';
import {firmwareView} from './views/firmware.js';
import {productsView} from './views/products.js';
import {statusView} from './views/status.js';
import {systemView} from './views/system.js';
import {taskView} from './views/task.js';
import {tokensView} from './views/tokens.js';
import {upgradeView, upgradeStart} from './views/upgrade.js';
import {versionsView} from './views/versions.js';

export const routes = [
    [[], productsView],
    [['products'], productsView],
    [['products', ':product'], firmwareView],
    [['products', ':product', 'firmware'], firmwareView],
    [['products', ':product', 'devices'], devicesView],
    [['products', ':product', 'devices', ':device'], deviceView],
    [['products', ':product', 'versions'], versionsView],
    [['upgrade'], upgradeStart],
    [['upgrade', ':product', 'devices'], upgradeView],
    [['upgrade', ':product', 'tasks'], statusView],
    [['upgrade', ':product', 'batches'], batchesView],
    [['upgrade', ':product', 'batch'], batchFormView],
    [['tasks', ':task'], taskView],
    [['batches', ':batch'], batchView],
    [['audit'], auditView],
    [['tokens'], tokensView],
    [['system'], systemView],
];
