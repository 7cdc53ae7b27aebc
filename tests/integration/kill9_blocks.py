# SPDX-License-Identifier: BSD-3-Clause
"""Downloads over MQTT while test_kill9.py kills the broker: a member of the batches that has no
HTTP client."""
from kill9_batches import Dead, Member

TASK, ENDED = 3, 4  # result codes of request_block_rsp


class BlockMember(Member):
    """Asks for blocks, a window after the other, and after a kill where it had come to."""

    def __init__(self, commands, rng, name):
        super().__init__(commands, rng, name)
        self.blocks = []  # what came and wasn't taken: (task, offset, bytes)
        self.refusal = None  # of what was asked for last

    def hear(self, topic, payload):
        if not topic.startswith("$ota/block/"):
            super().hear(topic, payload)
            return
        task, offset = topic.split("/")[-2:]
        self.blocks.append((int(task), int(offset), payload))
        self._heard.set()

    def heard(self, message):
        super().heard(message)
        if message["type"] == "request_block_rsp":
            self.refusal = message["result_code"]

    async def fetch(self, notice):
        at, size = len(self.content), notice["file_size"]
        while at < size:
            end = min(size, at + await self.ask(notice["task"], at))
            while at < end:
                data = await self.next_block(notice, at)
                if data is None:
                    return
                at += len(data)
                yield data

    async def ask(self, task, offset):
        """How many bytes may come."""
        length, count = self.rng.randrange(8192, 49152), self.rng.randrange(2, 16)
        self.blocks.clear()
        self.refusal = None
        await self.publish({"type": "request_block", "task": task, "offset": offset,
                            "length": length, "count": count})
        return length * count

    async def next_block(self, notice, offset):
        """None: the device was told something else meanwhile. What is left of an earlier request,
        of a task that was cancelled, is passed over."""
        while True:
            while self.blocks:
                task, start, data = self.blocks.pop(0)
                if (task, start) == (notice["task"], offset):
                    return data
            if self.notice is not notice:
                return None
            if self.refusal is not None:
                assert self.refusal in (TASK, ENDED), f"{self.name}: code {self.refusal}"
                raise Dead
            assert await self.wait_heard(10), f"{self.name}: no block {offset} of {notice}"
