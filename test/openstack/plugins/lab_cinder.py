"""Cinder's driver of the lab: a volume is a sparse file, and nothing is exported. Nova's host of
containers gets it as a loop device."""
import os
import subprocess

from oslo_config import cfg

from cinder import interface
from cinder.image import image_utils
from cinder.volume import configuration, driver

CONTAINERS = "lxc1"  # test/openstack/containers
OPTIONS = [cfg.StrOpt("lab_folder")]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


def resize(path, size_gb):
    with open(path, "ab") as f:
        f.truncate(size_gb << 30)


def copy(source, target):
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    VERSION = "1"
    CI_WIKI_NAME = "none"

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.configuration.append_config_values(OPTIONS)
        self.folder = self.configuration.safe_get("lab_folder")

    def do_setup(self, context):
        os.makedirs(self.folder, exist_ok=True)

    def check_for_setup_error(self):
        pass

    def local_path(self, volume):
        return os.path.join(self.folder, volume["name"])

    def create_volume(self, volume):
        resize(self.local_path(volume), volume["size"])

    def delete_volume(self, volume):
        if os.path.exists(self.local_path(volume)):
            os.unlink(self.local_path(volume))

    def extend_volume(self, volume, size_gb):
        resize(self.local_path(volume), size_gb)

    def retype(self, context, volume, new_type, diff, host):
        return True, None

    def create_snapshot(self, snapshot):
        copy(os.path.join(self.folder, snapshot["volume_name"]), self.local_path(snapshot))

    def delete_snapshot(self, snapshot):
        self.delete_volume(snapshot)

    def create_volume_from_snapshot(self, volume, snapshot):
        copy(self.local_path(snapshot), self.local_path(volume))
        resize(self.local_path(volume), volume["size"])

    def create_cloned_volume(self, volume, source):
        self.create_volume_from_snapshot(volume, source)

    def copy_image_to_volume(self, context, volume, image_service, image_id, disable_sparse=False):
        image_utils.fetch_to_raw(context, image_service, image_id, self.local_path(volume), "1M",
                                 size=volume["size"], run_as_root=False)
        resize(self.local_path(volume), volume["size"])

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def loop_devices(self, volume):
        rows = subprocess.run(["losetup", "--noheadings", "--output", "NAME", "--associated",
                               self.local_path(volume)], check=True, capture_output=True, text=True)
        return rows.stdout.split()

    def initialize_connection(self, volume, connector):
        path = self.local_path(volume)
        if connector.get("host") == CONTAINERS:
            path = (self.loop_devices(volume) or subprocess.run(
                ["losetup", "--find", "--show", path], check=True, capture_output=True,
                text=True).stdout.split())[0]
        return {"driver_volume_type": "local", "data": {"device_path": path}}

    def terminate_connection(self, volume, connector, **more):
        for device in self.loop_devices(volume):
            subprocess.run(["losetup", "--detach", device], check=True)

    def _update_volume_stats(self):
        self._stats = {"volume_backend_name": "file", "vendor_name": "lab", "driver_version": "1",
                       "storage_protocol": "local", "total_capacity_gb": 1000,
                       "free_capacity_gb": 900, "reserved_percentage": 0, "multiattach": True}
