"""What is changed on the healthy GPU node so that each check fails or warns: one entry for each of the 127.

A key is a path, or `$ command` whose first line is then `exit N`; None removes it. `env` and `registered` go over what
the tree holds, `settings` over its site file, and `smi` replaces words in the answer of nvidia-smi -q -x.
"""

import json
from dataclasses import dataclass, field
from typing import Any

SMI = "$ nvidia-smi -q -x"
PLANE = {"status": 200, "milliseconds": 3.0, "offset_seconds": 0.1, "error": ""}


@dataclass(frozen=True)
class Mutation:
    changes: dict[str, str | None] = field(default_factory=dict)
    env: dict[str, str | None] = field(default_factory=dict)
    registered: dict[str, Any] = field(default_factory=dict)
    settings: str = ""
    smi: tuple[str, str] | None = None
    verdicts: tuple[str, ...] = ("fail", "warn")


def probe(command: str, **answer: Any) -> Mutation:
    return Mutation({f"$ probe {command}": f"exit 0\n{json.dumps(answer)}"})


def file(path: str, text: str | None) -> Mutation:
    return Mutation({path: text})


def command(words: str, text: str, code: int = 0) -> Mutation:
    return Mutation({f"$ {words}": f"exit {code}\n{text}"})


def smi(before: str, after: str) -> Mutation:
    return Mutation(smi=(before, after))


def disk(path: str, **changes: Any) -> Mutation:
    row = {"free_bytes": 10**12, "total_bytes": 2 * 10**12, "free_inodes": 90, "total_inodes": 100, "mount": "/srv"}
    row |= {"type": "xfs", "device": "/dev/md0", "options": ["rw"]}
    return probe(f"file_system {path}", **{**row, **changes})


def reach(target: str, outcome: str = "connected") -> Mutation:
    return probe(f"reach {target}", outcome=outcome)


def readyz(**parts: bool) -> Mutation:
    names = ("database", "broker", "store", "store_disk", "dispatcher", "sealer")
    rows = {name: {"ok": parts.get(name, True), "detail": "failed: OSError"} for name in names}
    return probe("plane /readyz", **PLANE, document={"parts": rows})


def health(**parts: Any) -> Mutation:
    rows = {
        "database": {"vendor": "postgresql", "pending_migrations": [], "synchronous_commit": "on", "isolation": ""},
        "audit": {"is_verified": True, "verified_at": "2026-11-19T00:00:00Z", "seal_lag_seconds": 1},
        "backup": {"made_at": "2026-11-16T02:00:00Z", "drilled_at": "2026-10-20T08:00:00Z"},
    }
    return probe("plane /api/v1/doctor/plane-health", **PLANE, document={**rows, **parts})


CPU0 = "/sys/devices/system/cpu/cpu0"
NET0 = "/sys/class/net/ens1f0"
PORT = "/sys/class/infiniband/mlx5_0/ports/1"
TORCH: dict[str, Any] = {"version": "2.9.0", "cuda": "12.6", "cuda_available": True, "gpus": 2, "error": 1e-16}
TORCH |= {"capabilities": ["sm_80"], "arch_list": ["sm_80"], "backends": ["gloo", "nccl"]}
NO_RULES = {"$ nft list ruleset": "exit 0\n", "$ iptables-save": "exit 0\n*filter\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"}
LIMITS = "Limit Soft\nMax processes 100 100\nMax open files 64 64\nMax locked memory 65536 65536\n"

MUTATIONS: dict[str, Mutation] = {
    # CPU
    "cpu.count": file("/sys/fs/cgroup/system.slice/deepseek-worker.service/cpu.max", "50000 100000"),
    "cpu.arch": probe("wheel_tags", tags=["cp312-cp312-manylinux_2_28_aarch64"]),
    "cpu.flags": file("/proc/cpuinfo", "processor : 0\nflags : fpu sse sse2 avx\n"),
    "cpu.governor": file(f"{CPU0}/cpufreq/scaling_governor", "powersave"),
    "cpu.throttle": file(f"{CPU0}/thermal_throttle/core_throttle_count", "40000"),
    "cpu.steal": probe("cpu_steal 1", steal_percent=31.0),
    "cpu.microcode": file("/sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: Clear CPU buffers attempted"),
    "cpu.threads": Mutation(env={"OMP_NUM_THREADS": "64"}),
    "cpu.blas": probe("matmul 512", gflops=900.0, threads=4, error=3.0),
    # Memory
    "mem.total": file("/proc/meminfo", "MemTotal: 131000000 kB\n"),
    "mem.available": file("/proc/meminfo", "MemTotal: 263000000 kB\nMemAvailable: 3000000 kB\n"),
    "mem.cgroup": file("/sys/fs/cgroup/system.slice/deepseek-worker.service/memory.max", "1000000000"),
    "mem.swap": file("/proc/meminfo", "MemTotal: 263000000 kB\nSwapTotal: 8000000 kB\nSwapFree: 100000 kB\n"),
    "mem.ecc": file("/sys/devices/system/edac/mc/mc1/ue_count", "1"),
    "mem.oom": file("/proc/vmstat", "nr_free_pages 1\noom_kill 3"),
    "mem.thp": file("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]"),
    "mem.numa": file("/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:       0 kB\n"),
    "mem.shm": disk("/dev/shm", type="tmpfs", free_bytes=64_000_000),
    # Storage
    "disk.home_free": disk("/srv/plane", free_bytes=200_000_000),
    "disk.tmp_free": disk("/tmp", free_bytes=100_000_000),
    "disk.inodes": disk("/srv/plane", free_inodes=0),
    "disk.fs": disk("/srv/plane", type="nfs4", device="filer:/plane"),
    "disk.mount": disk("/srv/plane", options=["ro"]),
    "disk.atomic": probe("atomic /srv/plane", link=False, rename=True, lock=True, fsync=True),
    "disk.fsync": probe("fsync /srv/plane", p50_ms=40, p99_ms=900),
    "disk.read_seq": probe("read_sequential /srv/plane", bytes_per_second=3e7, direct=True),
    "disk.read_rand": probe("read_random /srv/plane", reads_per_second=90, direct=True),
    "disk.smart": command(
        "smartctl --json -a /dev/nvme1",
        '{"nvme_smart_health_information_log": {"critical_warning": 4, "percentage_used": 104, "media_errors": 2}}',
    ),
    "disk.raid": file("/proc/mdstat", "md0 : active raid1 nvme1n1[1](F) nvme0n1[0]\n      100 blocks [2/1] [U_]\n"),
    "disk.io_errors": command("dmesg", "[9.0] blk_update_request: I/O error, dev nvme0n1, sector 2048\n"),
    # GPU and driver
    "gpu.count": file("/sys/bus/pci/devices/0000:af:00.0/vendor", None),
    "gpu.model": Mutation(registered={"gpus": [{"name": "NVIDIA H100 PCIe"}, {"name": "NVIDIA H100 PCIe"}]}),
    "gpu.driver": file("/sys/module/nvidia/version", None),
    "gpu.nouveau": file("/sys/module/nouveau/version", "1.0"),
    "gpu.devnodes": probe(
        "device_nodes /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia0 /dev/nvidia1",
        nodes={"/dev/nvidiactl": "", "/dev/nvidia0": "Operation not permitted"},
    ),
    "gpu.nvml": probe("nvml", version="570.86.10"),
    "gpu.libcuda": probe("libcuda", path="libcuda.so", library_version="560.35.05", status=802, devices=0),
    "gpu.cuda_min": smi("<cuda_version>12.6", "<cuda_version>10.2"),
    "gpu.compat": probe(
        "libcuda", path="/usr/local/cuda/compat/libcuda.so", library_version="525.60", status=0, devices=2
    ),
    "gpu.memory": smi("<total>81920 MiB", "<total>8192 MiB"),
    "gpu.persistence": smi("<persistence_mode>Enabled", "<persistence_mode>Disabled"),
    "gpu.mode": smi("<current_mig>Disabled", "<current_mig>Enabled"),
    # GPU health
    "gpu.ecc_volatile": smi("<dram_uncorrectable>0", "<dram_uncorrectable>1"),
    "gpu.ecc_aggregate": smi(
        "<dram_correctable>2</dram_correctable>\n\t\t\t\t<dram_uncorrectable>0",
        "<dram_correctable>2</dram_correctable>\n\t\t\t\t<dram_uncorrectable>40",
    ),
    "gpu.row_remap": smi("<remapped_row_pending>No", "<remapped_row_pending>Yes"),
    "gpu.retired_pages": smi("<retired_count>N/A", "<retired_count>61"),
    "gpu.xid": command("dmesg", "[8.1] NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.\n"),
    "gpu.temperature": smi("<gpu_temp>35 C", "<gpu_temp>95 C"),
    "gpu.power_limit": smi("<current_power_limit>300.00 W", "<current_power_limit>150.00 W"),
    "gpu.throttle": smi("hw_thermal_slowdown>Not Active", "hw_thermal_slowdown>Active"),
    "gpu.vbios": smi("<vbios_version>92.00.90.00.04", "<vbios_version>92.00.36.00.01"),
    "gpu.foreign": smi(
        "<processes>", "<processes><process_info><pid>7</pid><process_name>/usr/bin/xmrig</process_name></process_info>"
    ),
    "gpu.compute": probe("gpu_compute", errors=[1e-7, 0.5]),
    "gpu.memtest": probe("gpu_memtest 80", gpus=[{"index": 0, "bytes": 68_000_000_000, "wrong": 12}]),
    # Links
    "link.pcie_width": smi("<current_link_width>16x", "<current_link_width>8x"),
    "link.pcie_replay": smi("<replay_counter>0", "<replay_counter>200000"),
    "link.pcie_bw": probe("pcie_bandwidth", gpus=[{"index": 0, "to_gpu": 1.5e9, "from_gpu": 1.6e9}]),
    "link.nvlink_active": command("nvidia-smi nvlink -s", "GPU 0: A100\n\t Link 0: 25 GB/s\n\t Link 1: <inactive>\n"),
    "link.nvlink_errors": command("nvidia-smi nvlink -e", "GPU 0: A100\n\t Link 0: CRC Errors: 4096\n"),
    "link.p2p": command("nvidia-smi topo -p2p r", " \tGPU0\tGPU1\n GPU0\tX\tCNS\n GPU1\tCNS\tX\n"),
    "link.nccl": probe("nccl 2", right=False, bytes_per_second=2e10),
    # Network
    "net.links": Mutation({f"{NET0}/operstate": "down", "/sys/class/net/ens1f1/operstate": "down"}),
    "net.errors": file(f"{NET0}/statistics/rx_errors", "9000000"),
    "net.mtu": file(f"{NET0}/mtu", "1500"),
    "net.loopback": probe("loopback", error="Connection refused", milliseconds=0.0),
    "net.plane": probe(
        "plane /healthz", status=0, milliseconds=0, offset_seconds=None, error="timed out", document=None
    ),
    "net.peers": reach("tcp 10.0.0.12 29200", "timeout"),
    "net.gloo": probe("gloo", right=False, error="Connection closed by peer", bytes_per_second=0.0),
    "net.rdma": file("/dev/infiniband/uverbs0", None),
    "net.ib_state": file(f"{PORT}/state", "1: DOWN"),
    "net.ib_errors": file(f"{PORT}/counters/symbol_error", "70000"),
    "net.memlock": file("/proc/self/limits", LIMITS),
    # Isolation
    "iso.rules": Mutation(NO_RULES),
    "iso.default": Mutation(NO_RULES),
    "iso.tcp": Mutation({**NO_RULES, "$ probe reach tcp 192.0.2.1 443": 'exit 0\n{"outcome": "timeout"}'}),
    "iso.udp": reach("udp 192.0.2.1 53"),
    "iso.icmp": reach("icmp 192.0.2.1 0"),
    "iso.dns": probe("resolve example.com", addresses=["93.184.215.14"]),
    "iso.ipv6": Mutation(
        {
            "/proc/net/if_inet6": "20010db8000000000000000000000002 02 40 00 80 ens1f0\n",
            "$ probe reach tcp 2001:db8::1 443": 'exit 0\n{"outcome": "connected"}',
        }
    ),
    "iso.metadata": reach("tcp 169.254.169.254 80"),
    "iso.env": Mutation(env={"https_proxy": "http://proxy:3128"}),
    # System
    "os.release": file("/etc/os-release", 'PRETTY_NAME="CentOS Linux 7"\nID="centos"\nVERSION_ID="7"\n'),
    "os.kernel": file("/proc/sys/kernel/osrelease", "4.18.0-553.el8"),
    "os.conflicts": file("/sys/module/nvidia/version", "525.85.12"),
    "os.nofile": file("/proc/self/limits", LIMITS),
    "os.nproc": file("/proc/self/limits", LIMITS),
    "os.cgroup": file("/sys/fs/cgroup/system.slice/deepseek-worker.service/cgroup.controllers", "cpu pids"),
    "os.userns": file("/proc/sys/user/max_user_namespaces", "0"),
    "os.seccomp": file("/proc/sys/kernel/seccomp/actions_avail", "allow"),
    "os.reboot": file("/run/reboot-required", "*** System restart required ***"),
    "time.sync": file("/etc/chrony/chrony.conf", "pool 2.debian.pool.ntp.org iburst\n"),
    "time.offset": probe("plane /healthz", **{**PLANE, "offset_seconds": -340.0}, document=None),
    # Python
    "py.version": probe("python", version="3.8.10", prefix="/usr", is_virtual=False, writable_by_others=[]),
    "py.venv": probe("python", version="3.12.3", prefix="/opt/x", is_virtual=True, writable_by_others=["/opt/x/lib"]),
    "py.index": file("/etc/pip.conf", "[global]\nindex-url = https://pypi.org/simple\n"),
    "py.pins": probe(
        "pins /opt/deepseek/constraints.txt", path="constraints.txt", count=2, wrong=["torch 2.8 for 2.9"]
    ),
    "py.check": probe("requirements", count=2, ours=["pandas needs numpy>=2, 1.26 is installed"], others=[]),
    "py.record": probe("records 4", files=9, hashed=9, changed=["torch/nn/functional.py"], scripts=[], absent=[]),
    "py.torch_cuda": probe("torch", **{**TORCH, "capabilities": ["sm_120"]}),
    "py.torch_cpu": probe("torch", **{**TORCH, "error": 0.25}),
    "py.torch_dist": probe("torch", **{**TORCH, "backends": []}),
    "py.onnxruntime": probe("onnxruntime", version="1.22.0", right=False, error="illegal instruction", providers=[]),
    "py.tvm": probe("tvm", version="0.27.0", ffi="0.1.14", llvm=None),
    "py.extras": probe("modules onnx onnxruntime onnxscript peft transformers", absent=["peft"]),
    "py.vulns": probe(
        "vulnerabilities /srv/feeds/osv.jsonl", records=9, newest="2026-11-18T00:00:00Z", vulnerable=["A"]
    ),
    # Tools
    "cc.c": probe("compile cc run", version="13.2.0", error="cannot find -lc"),
    "cc.aarch64": probe("compile aarch64-linux-gnu-gcc link", version="13.2.0", error="stdio.h: No such file"),
    "cc.qemu": probe("emulate qemu-aarch64 aarch64-linux-gnu-gcc", error="Exec format error"),
    "cc.nvcc": command("nvcc --version", "Cuda compilation tools, release 11.8, V11.8.89\n"),
    "cc.browser": command("chromedriver --version", "ChromeDriver 120.0.6099.109 (abc)"),
    "cc.git": command("git --version", "git version 2.17.1"),
    # Services and security
    "svc.database": health(database={"vendor": "postgresql", "pending_migrations": ["jobs.0042"]}),
    "svc.db_mode": health(database={"vendor": "sqlite", "journal_mode": "delete", "synchronous": 0}),
    "svc.broker": readyz(broker=False),
    "svc.store": readyz(store=False),
    "svc.registry": probe("fetch http://registry.internal:5000/v2/", **{**PLANE, "status": 502}, document=None),
    "svc.label_studio": probe("fetch http://labels.internal:8080/health", **{**PLANE, "status": 0}, document=None),
    "svc.dispatcher": readyz(dispatcher=False),
    "svc.web": Mutation(env={"DEEPSEEK_URL": "http://plane.internal"}),
    "sec.certs": probe("tls", error="", days_left=2.0, versions=["TLSv1_3"]),
    "sec.tls": probe("tls", error="", days_left=90.0, versions=["TLSv1", "TLSv1_2"]),
    "sec.modes": probe(
        "secret_files /srv/plane secret_key *.key *.pem keys/* */keys/* secrets/* *token*",
        count=4,
        open=["/srv/plane/secret_key (0644)"],
    ),
    "sec.ports": file("/proc/net/tcp", "head\n 0: 00000000:18EB 00000000:0000 0A 0:0\n"),
    "sec.accounts": file("/etc/shadow", "root:!:19700::::::\nguest::19700::::::\n"),
    "sec.audit": health(audit={"is_verified": False, "verified_at": "2026-11-19T00:00:00Z", "seal_lag_seconds": 1}),
    "sec.backup": health(backup={"made_at": "2026-06-01T00:00:00Z", "drilled_at": None}),
    "sec.signatures": file("/var/lib/clamav/daily.cld", "ClamAV-VDB:01 Jan 2024 09-00 +0000:27000:1:90:x:y:z:1"),
}
