# SPDX-License-Identifier: BSD-3-Clause
"""Who may do what, by which way: the expected outcomes, all of them (contract 4). authorisation.py
plays the table against a real broker, once in each of SETUPS.

Who:  y  without a name (anonymous)      v  a viewer
      n  a name without a role           o  an operator
      d  the device p/d, which is also   a  an admin
         the gateway of p/other
A cell names those who get their way; `.`: nobody. Behind a `|` stands what another plugin leads to
that is loaded before ours and lets everybody in; without a `|` it changes nothing:
      ~  whoever subscribed there hears it, and we don't act on it: a will passes no other hook
      =  everybody is let in, and nothing that is private comes that way
      !  everybody is let in, and hears what isn't private: events, reports, what was retained
"""

PASSWORD = "secret"
WHO = {"y": None, "n": "stranger", "d": "p/d", "v": "viewer", "o": "op", "a": "admin"}

# name: what another plugin decides before ours. Where that is one thing alone, only so much follows
# of what stands behind a `|`: whoever it lets in must still pass our other checks.
ALL = "publish subscribe receive"
SETUPS = {
    "acl_file": "",
    "allow-all after": "",
    "dynsec after": "",
    "allow-all before": ALL,
    "dynsec before": ALL,
    "allow-publish before": "publish",
    "allow-subscribe before": "subscribe",
    "allow-receive before": "receive",
}

# publish: with QoS 0, 1 and 2, by 3.1.1 and 5. heir: with a client id that was taken over from one
# who may. bridge: brought by an outgoing bridge with that local_username. The last four are wills:
# one that goes out at once, a retained one, one with a delay, one of a session that is taken over.
PUBLISH = """
topic                         publish  retained  dup  alias  heir  bridge  will  kept  late  lost
$ota/report/p/d               d        .         d    d      d     d       .|~   .|~   .|~   .|~
$ota/report/p/other           d        .         d    d      d     d       .|~   .|~   .|~   .|~
$ota/report/p/third           .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/report/p/d/x             .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/report/p                 .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/report//d                .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/report                   .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/update/p/d               .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/update/p/other           .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/block/p/d/1/0            .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/block/p/other/1/0        .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/event/p                  .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/event/p/d                .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota                          .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/                         .        .         .    .      .     .       .|~   .|~   .|~   .|~
$ota/nothing                  .        .         .    .      .     .       .|~   .|~   .|~   .|~
$gateway/operation/p/d        d        .         d    d      d     d       .|~   .|~   .|~   .|~
$gateway/operation/p/d/x      .        .         .    .      .     .       .|~   .|~   .|~   .|~
$gateway/operation/p/other    .        .         .    .      .     .       .|~   .|~   .|~   .|~
$gateway/operation/result/p/d .        .         .    .      .     .       .|~   .|~   .|~   .|~
$CONTROL/ota/v1               voa      .         voa  voa    voa   .       .|~   .|~   .|~   .|~
$CONTROL/ota/v1/response      .        .         .    .      .     .       .|~   .|~   .|~   .|~
"""

# exact: the filter itself, by 3.1.1 and 5; shared: $share/g/FILTER. Who is let in hears the events
# and reports that match. heir: who hears them, also queued ones, after taking over the client id of
# one who may subscribe. retained: who hears what was retained there before our plugin was loaded.
# bridge: who hears them as the local_username of an outgoing bridge, which no plugin is asked about
# (so what its administrator wrote counts; `x`: not asked for).
SUBSCRIBE = """
filter                         exact     shared    heir   retained  bridge
$ota/update/p/d                d|=       .|=       .      .|!       x
$ota/update/p/other            d|=       .|=       .      .|!       x
$ota/update/p/third            .|=       .|=       .      .|!       x
$ota/update/#                  .|=       .|=       .      .|!       x
$ota/update/+/d                .|=       .|=       .      .|!       x
$ota/update/p/+                .|=       .|=       .      .|!       x
$ota/update/p/#                .|=       .|=       .      .|!       x
$ota/update/p/d/#              .|=       .|=       .      .|!       x
$ota/update/p/d/+              .|=       .|=       .      .         x
$ota/update/p/d/               .|=       .|=       .      .         x
$ota/update//d                 .|=       .|=       .      .         x
$ota/update                    .|=       .|=       .      .         x
$ota/block/p/d/#               d|=       .|=       .      .|!       x
$ota/block/p/d/1/0             .|=       .|=       .      .|!       x
$ota/block/p/d/+/+             .|=       .|=       .      .|!       x
$ota/block/p/other/#           d|=       .|=       .      .|!       x
$ota/block/p/third/#           .|=       .|=       .      .|!       x
$ota/block/p/other/+/+         .|=       .|=       .      .|!       x
$ota/block/p/+/#               .|=       .|=       .      .|!       x
$ota/block/#                   .|=       .|=       .      .|!       x
$ota/event/p/d                 voa|!     voa|!     voa|!  .|!       x
$ota/event/p                   voa|!     voa|!     voa|!  .|!       x
$ota/event/+/d                 voa|!     voa|!     voa|!  .|!       x
$ota/event/#                   voa|!     voa|!     voa|!  .|!       x
$ota/report/p/d                voa|!     voa|!     voa|!  .|!       x
$ota/report/p/+                voa|!     voa|!     voa|!  .|!       x
$ota/report/#                  voa|!     voa|!     voa|!  .|!       x
$ota/#                         .|!       .|!       .|!    .|!       yndvoa
$ota/+                         .|=       .|=       .      .|!       x
$ota/+/p/d                     .|!       .|!       .|!    .|!       x
$ota/+/+/+                     .|!       .|!       .|!    .|!       x
$ota/+/#                       .|!       .|!       .|!    .|!       x
$ota                           .|=       .|=       .      .|!       x
$ota/                          .|=       .|=       .      .|!       x
$ota/nothing                   .|=       .|=       .      .|!       x
$gateway/#                     .|=       .|=       .      .|!       x
$gateway/operation/#           .|=       .|=       .      .|!       x
$gateway/+/p/d                 .|=       .|=       .      .|!       x
$gateway/operation/p/d         .|=       .|=       .      .|!       x
$gateway/operation/p/other     .|=       .|=       .      .|!       x
$gateway/operation/result/p/d  d|=       .|=       .      .|!       x
$gateway/operation/result/p/+  .|=       .|=       .      .|!       x
$gateway/operation/result/p/other  .|=   .|=       .      .|!       x
$CONTROL/ota/v1                voa|=     voa|=     .      .|!       x
$CONTROL/ota/v1/response       voa|=     voa|=     .      .|!       x
$CONTROL/ota/#                 voa|=     voa|=     .      .|!       yndvoa
$CONTROL/#                     .|=       .|=       .      .|!       x
$CONTROL/+/v1/response         .|=       .|=       .      .|!       x
#                              yndvoa    yndvoa    .      .         x
+/#                            yndvoa    yndvoa    .      .         x
+/update/p/d                   yndvoa    yndvoa    .      .         x
+/+/+/+                        yndvoa    yndvoa    .      .         x
"""

# By which door whose commands run. A role that is too low is told `forbidden`; by a door that is
# shut, and without a role, there is no answer at all (http: 401 or 403). http: POST /api/v1/control
# with a password.
DOORS = """
commands of  mqtt  will  bridge  http
viewer       voa   .     .       voa
operator     oa    .     .       oa
admin        a     .     .       a
"""

# What control-api.md promises: command, role, fields ("?" optional). The product's own table is
# compared with this one.
COMMANDS = """
createProduct        admin    product description?
updateProduct        admin    product description
deleteProduct        admin    product force?
listProducts         viewer   limit? cursor?
addFirmware          admin    product version filename size sha256 description? order? signature?
uploadFirmwareBlock  admin    upload offset data
commitFirmware       admin    upload
abortFirmware        admin    upload
listFirmware         viewer   product limit? cursor?
getFirmware          viewer   product version
deleteFirmware       admin    product version
createDevice         admin    product device description? tags?
updateDevice         operator product device description? tags? hold?
deleteDevice         admin    product device
setDeviceSecret      admin    product device secret?
deleteDeviceSecret   admin    product device
getDevice            viewer   product device
bindDevice           admin    product device gatewayProduct gateway
unbindDevice         admin    product device gatewayProduct gateway
listDevices          viewer   product version? online? tag? prefix? gateway? limit? cursor?
listDeviceHistory    viewer   product device limit? cursor?
explainDevice        viewer   product device
listVersions         viewer   product limit? cursor?
upgradeDevice        operator product device version timeoutSeconds? retry? override? reinstall? \
allowDowngrade?
listTasks            viewer   product? batch? device? version? status? limit? cursor?
getTask              viewer   task
cancelTask           operator task
retryTask            operator task
createBatch          operator product version target? name? stages? ratePerMinute? maxInFlight? \
failureThreshold? gate? retry? timeoutSeconds? startAt? expireAt? mode? override? reinstall? \
allowDowngrade? draft? dryRun?
addBatchDevices      operator batch devices
startBatch           operator batch
updateBatch          operator batch name? ratePerMinute? maxInFlight? failureThreshold? expireAt?
listBatches          viewer   product? state? limit? cursor?
getBatch             viewer   batch
pauseBatch           operator batch
resumeBatch          operator batch
advanceBatch         operator batch
cancelBatch          operator batch running?
retryBatch           operator batch
getStats             viewer   product? batch?
listAudit            admin    since? user? action? limit? cursor?
createToken          admin    name role expireAt?
listTokens           admin    limit? cursor?
revokeToken          admin    token
backup               admin    name?
getInfo              viewer
"""  # fmt: skip


def rows(table):
    """{first column: {name of a column: its cell}}"""
    head, *lines = table.strip().splitlines()
    columns = [name for name in head.replace("commands of", "commands").split() if name][1:]
    cells = {}
    for line in lines:
        first, *words = line.split()
        assert len(words) == len(columns) and first not in cells, line
        cells[first] = dict(zip(columns, words))
    return cells


def expected(cell, shadowed):
    """What stands in the cell for brokers where another plugin decides first, or doesn't."""
    first, _, second = cell.partition("|")
    return second if shadowed and second else first


def commands():
    """{command: (role, {field: whether it is required})}"""
    found = {}
    for line in COMMANDS.strip().splitlines():
        name, role, *fields = line.split()
        found[name] = role, {field.rstrip("?"): not field.endswith("?") for field in fields}
    return found
