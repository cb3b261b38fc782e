//! Calls read as what they ask for: a request in, data or the sentence against it out.
//!
//! Pure, so that every rule is a line in a table of tests. Whose volume it is comes from what the
//! kubelet says about the pod and from nothing else. A volume's attributes may hold anything, put
//! there by mistake: the sentences name keys and never show what stands under them.

mod volume_attributes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use livemount_csi::v1::volume_capability::{AccessType, MountVolume};
use livemount_csi::v1::{
    NodeGetVolumeStatsRequest, NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
    VolumeCapability,
};

use super::{NodeError, PublishRequest};
use crate::pod::PodRef;
use crate::publish::Settings;
use crate::yaml;

/// What the kubelet's own keys begin with (`csi_mounter.go`, `getPodInfoAttrs`).
const KUBELETS: &str = "csi.storage.k8s.io/";
/// What an admin has to do where the kubelet says nothing about the pod.
const HINT: &str = "the CSIDriver object must have podInfoOnMount: true, so that the kubelet says \
                    whose volume this is";
/// The largest group that a pod may have (`IsValidGroupID`, apimachinery).
const MAX_GROUP: u32 = i32::MAX as u32;

/// What a publish call is measured by.
#[derive(Clone, Debug)]
pub struct Rules {
    pods: PathBuf,
    settings: Settings,
}

impl Rules {
    /// The folder in which the kubelet has its pods, and how volumes behave that say nothing of it.
    pub fn new(pods: PathBuf, settings: Settings) -> Self {
        Self { pods, settings }
    }

    /// Reads a publish call. `readonly` says nothing: a volume is read-only in any case. Neither
    /// does the access mode, as an inline volume has one target on one node. Secrets are for other
    /// drivers and are not looked at.
    ///
    /// # Errors
    ///
    /// What is missing, in the order in which csi-sanity asks; what is not served; what does not
    /// come from a kubelet that tells about the pod; an attribute that is wrong.
    pub fn publish_request(
        &self,
        request: NodePublishVolumeRequest,
    ) -> Result<PublishRequest, NodeError> {
        let id = given(request.volume_id, "volume_id")?;
        let target = given(request.target_path, "target_path")?;
        let capability = request
            .volume_capability
            .ok_or(NodeError::Missing("volume_capability"))?;
        let fs_group = group(&capability)?;
        let (uid, name) = self.place(&target).ok_or_else(|| {
            let pods = self.pods.display();
            NodeError::NotThePod(format!(
                "target_path is not that of a pod's CSI volume below {pods}"
            ))
        })?;
        let context = &request.volume_context;
        let pod = pod(context, uid)?;
        let (name, target) = (name.to_owned(), target.as_str().into());
        let attributes = context
            .iter()
            .filter(|(key, _)| !key.starts_with(KUBELETS))
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let (mut spec, settings) = volume_attributes::read(attributes, &pod, self.settings)?;
        spec.fs_group = fs_group;
        Ok(PublishRequest {
            id,
            target,
            pod,
            name,
            spec,
            settings,
        })
    }

    /// Which pod and which of its volumes a target belongs to: the kubelet's
    /// `pods/<uid>/volumes/kubernetes.io~csi/<name>/mount` (`getTargetPath`, `csi_mounter.go`). What
    /// the last folder is called proves nothing and is left open.
    fn place<'t>(&self, target: &'t str) -> Option<(&'t str, &'t str)> {
        let below = Path::new(target).strip_prefix(&self.pods).ok()?;
        let mut names = below.components().map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        let mut next = || names.next().flatten();
        let uid = next()?;
        if (next()?, next()?) != ("volumes", "kubernetes.io~csi") {
            return None;
        }
        let (name, _mount) = (next()?, next()?);
        // Nothing may follow, not even something that is no name.
        names.next().is_none().then_some((uid, name))
    }
}

/// Reads an unpublish call: which volume, at which target.
///
/// # Errors
///
/// What is missing.
pub fn unpublish_request(
    request: NodeUnpublishVolumeRequest,
) -> Result<(String, PathBuf), NodeError> {
    let id = given(request.volume_id, "volume_id")?;
    let target = given(request.target_path, "target_path")?;
    Ok((id, target.into()))
}

/// Reads a call for a volume's size: which volume, at which target.
///
/// # Errors
///
/// What is missing.
pub fn stats_request(request: NodeGetVolumeStatsRequest) -> Result<(String, PathBuf), NodeError> {
    let id = given(request.volume_id, "volume_id")?;
    let path = given(request.volume_path, "volume_path")?;
    Ok((id, path.into()))
}

fn given(text: String, field: &'static str) -> Result<String, NodeError> {
    if text.is_empty() {
        Err(NodeError::Missing(field))
    } else {
        Ok(text)
    }
}

/// The group of every file. What a volume here cannot be is refused, not passed over: a kubelet
/// sends no mount options for an inline volume, and a file system's type only where the pod's
/// `fsType` asks for one.
fn group(capability: &VolumeCapability) -> Result<Option<u32>, NodeError> {
    let MountVolume {
        fs_type,
        mount_flags,
        volume_mount_group,
    } = match &capability.access_type {
        Some(AccessType::Mount(mount)) => mount,
        Some(AccessType::Block(_)) => {
            return Err(NodeError::Unserved("a volume of files is no block device"));
        }
        None => return Err(NodeError::Missing("volume_capability.mount")),
    };
    if !fs_type.is_empty() {
        return Err(NodeError::Unserved(
            "fsType cannot be chosen: leave it out, the file system is livemount's own",
        ));
    }
    if !mount_flags.is_empty() {
        return Err(NodeError::Unserved("mount options are not taken"));
    }
    if volume_mount_group.is_empty() {
        return Ok(None);
    }
    match volume_mount_group.parse() {
        Ok(group @ 0..=MAX_GROUP) => Ok(Some(group)),
        _ => Err(NodeError::Unserved(
            "volume_mount_group is not the number of a group",
        )),
    }
}

/// The pod, as the kubelet tells it. Without podInfoOnMount the pod's author could write these keys
/// himself; what he cannot know when he writes them is the uid that his pod will get, which the
/// target has from the kubelet.
fn pod(context: &BTreeMap<String, String>, uid: &str) -> Result<PodRef, NodeError> {
    let told = |key: &str| context.get(&format!("{KUBELETS}{key}")).map(String::as_str);
    let refuse = |what: &str| Err(NodeError::NotThePod(format!("{what}; {HINT}")));
    let (Some(namespace), Some(name), Some(told_uid)) =
        (told("pod.namespace"), told("pod.name"), told("pod.uid"))
    else {
        return refuse("the call does not name a pod");
    };
    if told("ephemeral") != Some("true") {
        return refuse("the call is not for an inline volume of a pod");
    }
    if told_uid != uid {
        return refuse("csi.storage.k8s.io/pod.uid is not the pod that target_path belongs to");
    }
    if yaml::name::label(namespace).is_err() || yaml::name::subdomain(name).is_err() {
        return refuse("csi.storage.k8s.io/pod.namespace and pod.name are no legal names");
    }
    Ok(PodRef {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    })
}
