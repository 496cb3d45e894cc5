"""Nova's driver of the lab's host `lxc1`: libvirt's containers, which run systemd as PID 1. Changed is
what Nova (Zed) lacks for them:

- A volume is a block device in the container. libvirt does not know Nova's bus `lxc`; and no udev of
  the container makes the link by the volume's serial, so a folder with the links is mounted there.
- After a soft reboot Nova starts the container on a folder from which it has unmounted the disk. Here
  the container is shut down in order, and then started as after a hard one.
"""
import os
import sys
import time

import nova.cmd.compute  # first: it replaces the threads of all that follows
import nova.conf
from nova.compute import power_state
from nova.virt import driver
from nova.virt.libvirt import config
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import utils

LINKS = "/dev/disk/by-id"
SERIAL_CHARS = 20  # of a virtio disk


class ContainerDriver(libvirt_driver.LibvirtDriver):
    def _get_volume_config(self, instance, connection_info, disk_info):
        disk = super()._get_volume_config(instance, connection_info, disk_info)
        disk.target_bus = "virtio"
        return disk

    def _get_guest_storage_config(self, context, instance, image_meta, disk_info, rescue,
                                  block_device_info, flavor, os_type):
        devices = super()._get_guest_storage_config(context, instance, image_meta, disk_info, rescue,
                                                    block_device_info, flavor, os_type)
        folder = os.path.join(utils.get_instance_path(instance), "by-id")
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        for volume in driver.block_device_info_get_mapping(block_device_info):
            serial = volume["connection_info"]["serial"][:SERIAL_CHARS]
            os.symlink("../../" + os.path.basename(volume["mount_device"]),
                       os.path.join(folder, f"virtio-{serial}"))
        links = config.LibvirtConfigGuestFilesys()
        links.source_dir, links.target_dir = folder, LINKS
        return devices + [links]

    def _soft_reboot(self, instance):
        guest = self._host.get_guest(instance)
        if guest.get_power_state(self._host) == power_state.RUNNING:
            guest.shutdown()
            end = time.monotonic() + nova.conf.CONF.libvirt.wait_soft_reboot_seconds
            while time.monotonic() < end:
                if self._host.get_guest(instance).get_power_state(self._host) in (
                        power_state.SHUTDOWN, power_state.CRASHED):
                    break
                time.sleep(0.5)  # eventlet's
        return False  # Nova's hard reboot starts it


def main():
    """nova-compute, which looks for drivers among its own."""
    sys.modules["nova.virt.lab_nova"] = sys.modules[__name__]
    return nova.cmd.compute.main()
