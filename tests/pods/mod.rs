//! The cases, by what they are about.

mod access;
mod ends;
mod examples;
mod files;
mod life;
mod processes;
mod restarts;
mod rollout;
pub mod scene;
mod witness;

use scene::Case;

/// All of them, in the order in which they run.
pub const ALL: &[(&str, Case)] = &[
    ("content_and_modes", |scene| {
        Box::pin(files::content_and_modes(scene))
    }),
    ("items_folders_and_binary", |scene| {
        Box::pin(files::items_folders_and_binary(scene))
    }),
    ("an_update_is_three_events", |scene| {
        Box::pin(files::an_update_is_three_events(scene))
    }),
    ("a_subpath_stays_live", |scene| {
        Box::pin(files::a_subpath_stays_live(scene))
    }),
    ("projected_of_all_three", |scene| {
        Box::pin(files::projected_of_all_three(scene))
    }),
    ("a_script_runs_from_the_volume", |scene| {
        Box::pin(files::a_script_runs(scene))
    }),
    ("another_volume_inside_this_one", |scene| {
        Box::pin(files::another_volume_inside(scene))
    }),
    ("not_root_with_fs_group", |scene| {
        Box::pin(access::not_root_with_fs_group(scene))
    }),
    ("a_secret", |scene| Box::pin(access::a_secret(scene))),
    ("another_namespace_is_out_of_reach", |scene| {
        Box::pin(access::another_namespace(scene))
    }),
    ("without_pod_info_nothing_is_published", |scene| {
        Box::pin(access::without_pod_info(scene))
    }),
    ("optional_objects_come_and_go", |scene| {
        Box::pin(life::optional_objects(scene))
    }),
    ("a_missing_object_is_waited_for", |scene| {
        Box::pin(life::a_missing_object(scene))
    }),
    ("two_containers_and_an_init", |scene| {
        Box::pin(life::two_containers_and_an_init(scene))
    }),
    ("a_container_restarts", |scene| {
        Box::pin(life::a_container_restarts(scene))
    }),
    ("the_kubelet_restarts", |scene| {
        Box::pin(life::the_kubelet_restarts(scene))
    }),
    ("fifty_pods_at_a_time", |scene| {
        Box::pin(life::fifty_pods(scene))
    }),
    ("the_status_of_a_pod", |scene| {
        Box::pin(life::the_status_of_a_pod(scene))
    }),
    ("the_five_lines_of_the_readme", |scene| {
        Box::pin(examples::of_the_readme(scene))
    }),
    ("the_examples_as_written", |scene| {
        Box::pin(examples::as_written(scene))
    }),
    ("the_plugin_and_the_keeper_hold_no_privilege", |scene| {
        Box::pin(restarts::without_privileges(scene))
    }),
    ("restart_of_the_plugin", |scene| {
        Box::pin(restarts::the_plugin_goes(scene))
    }),
    ("restart_of_the_keeper", |scene| {
        Box::pin(restarts::the_keeper_goes(scene))
    }),
    ("restart_into_images_that_do_not_start", |scene| {
        Box::pin(restarts::images_that_do_not_start(scene))
    }),
    ("restart_of_both_in_one_apply", |scene| {
        Box::pin(restarts::both_are_changed(scene))
    }),
    ("restart_while_a_pod_goes", |scene| {
        Box::pin(restarts::a_pod_goes_meanwhile(scene))
    }),
    ("republish_heals_a_target", |scene| {
        Box::pin(restarts::a_target_is_healed(scene))
    }),
    ("a_pod_ends_with_files_open", |scene| {
        Box::pin(ends::with_files_open(scene))
    }),
    ("keeper_and_plugin_are_killed_at_once", |scene| {
        Box::pin(ends::all_are_killed(scene))
    }),
];
