"""What pyproject.toml cannot say: the extras follow the requirement files, and templates, static files, translations
and the manual, which stand beside the packages in the repository, go inside the package `controlplane` in a wheel."""

from pathlib import Path

from setuptools import find_packages, setup

SHIPPED = ("templates", "static", "locale", "docs")


def requirements(name: str) -> list[str]:
    lines = Path(__file__).with_name(name).read_text().splitlines()
    return [text for line in lines if (text := line.partition(" #")[0].strip()) and not text.startswith(("#", "-"))]


PLANE = requirements("requirements.txt")

setup(
    packages=[
        *find_packages(include=["deepseek*", "apps*", "workers*", "controlplane*"]),
        *(f"controlplane.{name}" for name in SHIPPED),
    ],
    package_dir={f"controlplane.{name}": name for name in SHIPPED},
    package_data={
        "": ["py.typed", "*.cpp", "checks.toml", "conflicts.json"],
        **{f"controlplane.{name}": ["**/*"] for name in SHIPPED},
    },
    extras_require={
        "plane": PLANE,  # the engine and all that web, worker and dispatcher need
        "s3": requirements("requirements-s3.txt"),
        "collect": requirements("requirements-collect.txt"),
        "labelling": requirements("requirements-labelling.txt"),
        "federation": requirements("requirements-federation.txt"),
        "language": requirements("requirements-language.txt"),
        "ldap": requirements("requirements-ldap.txt"),
        "onnx": requirements("requirements-onnx.txt"),
        "pkcs11": requirements("requirements-pkcs11.txt"),
        "scale": requirements("requirements-scale.txt"),
        "compile": [line for line in PLANE if line.startswith("apache-tvm")],
        "serve": [
            line for line in PLANE if line.startswith(("fastapi", "uvicorn", "httptools", "uvloop", "onnxruntime"))
        ],
    },
)
