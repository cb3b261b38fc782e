//! Tables of what the API takes and of what the kubelet writes.

use super::*;
