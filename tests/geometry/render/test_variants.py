from __future__ import annotations

import subprocess
import sys

import pytest

from geometry.render import make_renderer, variants


def test_scalar_needs_no_probe():
    assert variants.choose("scalar").name == "scalar_rgb"


def test_auto_is_llvm_where_it_works_and_says_so_otherwise():
    found = variants.choose("auto")
    if found.name == "llvm_ad_rgb":
        assert found.llvm_path and not found.message
    else:
        assert found.name == "scalar_rgb" and "libllvm19" in found.message


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="variant: expected auto, llvm, scalar, cuda, got 'metal'"):
        variants.choose("metal")
    with pytest.raises(ValueError, match="renderer: expected one of mitsuba, pytorch3d, got 'blender'"):
        make_renderer("blender")


def test_only_new_llvm_is_found_newest_first(tmp_path, monkeypatch):
    for name in ("libLLVM-15.so.1", "libLLVM-18.so", "libLLVM.so.19.1", "libLLVM-20.so", "libLLVMCore.so.19"):
        (tmp_path / name).touch()
    monkeypatch.setattr(variants, "LIBRARY_FOLDERS", (str(tmp_path),))
    assert [path.split("/")[-1] for path in variants.llvm_libraries()] == ["libLLVM-20.so", "libLLVM.so.19.1"]


def test_a_library_that_is_none_leads_to_scalar(tmp_path, monkeypatch):
    fake = tmp_path / "libLLVM-19.so"
    fake.write_bytes(b"not a library")
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(fake))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    variants.choose.cache_clear()
    try:
        found = variants.choose("auto")
        assert found.name == "scalar_rgb" and "rendering is several times slower" in found.message
        with pytest.raises(RuntimeError, match="no working libLLVM"):
            variants.choose("llvm")
    finally:
        variants.choose.cache_clear()


def test_importing_the_package_loads_no_renderer():
    code = "import sys, geometry.render, geometry.mesh; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ("mitsuba", "trimesh", "pxr", "open3d")
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
