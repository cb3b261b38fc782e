//! What Prometheus' own client libraries tell of a process, under their names, for this process: the
//! daemon. The hand is another one.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::register::MetricRegistry;

/// A gauge with decimals.
pub(super) type Decimal = Gauge<f64, AtomicU64>;

/// This process.
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    virtual_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    started: Decimal,
}

impl Process {
    pub(super) fn register(registry: &mut MetricRegistry<'_>) -> Self {
        Self {
            cpu: registry.one(
                "process_cpu",
                Some(Unit::Seconds),
                "Processor time of the daemon, in user and kernel mode",
            ),
            resident: registry.one(
                "process_resident_memory",
                Some(Unit::Bytes),
                "Resident memory of the daemon",
            ),
            virtual_memory: registry.one(
                "process_virtual_memory",
                Some(Unit::Bytes),
                "Virtual memory of the daemon",
            ),
            open_fds: registry.one("process_open_fds", None, "Open descriptors of the daemon"),
            max_fds: registry.one(
                "process_max_fds",
                None,
                "The most descriptors that the daemon may open",
            ),
            threads: registry.one("process_threads", None, "Threads of the daemon"),
            started: registry.one(
                "process_start_time",
                Some(Unit::Seconds),
                "When the daemon started, in seconds since 1970",
            ),
        }
    }

    /// Reads all of it. What cannot be read stays as it was.
    pub(super) fn read(&self, started: SystemTime) {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        #[allow(clippy::cast_precision_loss)] // Seconds and nanoseconds are exact for centuries.
        let cpu = now.tv_sec as f64 + now.tv_nsec as f64 / 1e9;
        self.cpu.inner().store(cpu.to_bits(), Ordering::Relaxed);
        // `VmRSS` and `VmSize` are in units of 1024 bytes (proc_pid_status(5)).
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            for (gauge, name, unit) in [
                (&self.resident, "VmRSS:", 1024),
                (&self.virtual_memory, "VmSize:", 1024),
                (&self.threads, "Threads:", 1),
            ] {
                if let Some(value) = field(&status, name) {
                    gauge.set(value * unit);
                }
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the listing's own.
            let open = open.count().saturating_sub(1);
            self.open_fds.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
        let most = getrlimit(Resource::Nofile).current;
        let most = most.map_or(i64::MAX, |most| i64::try_from(most).unwrap_or(i64::MAX));
        self.max_fds.set(most);
        if let Ok(started) = started.duration_since(UNIX_EPOCH) {
            self.started.set(started.as_secs_f64());
        }
    }
}

/// The number in a line such as `VmRSS:      1234 kB`.
fn field(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_by_its_whole_name() {
        let status = "VmPeak:\t 9 kB\nVmSize:\t  12 kB\nVmRSS:\t    7 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmRSS:"), Some(7));
        assert_eq!(field(status, "VmSize:"), Some(12));
        assert_eq!(field(status, "Threads:"), Some(3));
        assert_eq!(field(status, "VmSwap:"), None);
    }
}
