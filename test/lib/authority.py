"""Certificates for the tests, made with the openssl program: authorities of our own, and what they sign."""
import os
import subprocess

from harness import check


def openssl(*argv, cwd):
    done = subprocess.run(["openssl", *argv], cwd=cwd, capture_output=True, text=True)
    check(done.returncode == 0, f"openssl {argv}: {done.stderr}")


def certificate(t, name, issuer, begin, end, names="IP:127.0.0.1"):
    """NAME.pem and NAME.key, signed by `issuer` (or itself), valid between two moments."""
    folder = f"{t.dir}/ca-{name}"
    os.makedirs(folder)
    for made in ("index.txt", "index.txt.attr"):
        open(f"{folder}/{made}", "w").close()
    with open(f"{folder}/conf", "w") as f:
        f.write("[ca]\ndefault_ca=c\n[c]\nnew_certs_dir=.\ndatabase=index.txt\nserial=serial\n"
                "rand_serial=yes\ndefault_md=sha256\npolicy=p\nx509_extensions=x\n[p]\n"
                f"commonName=supplied\n[x]\nsubjectAltName={names}\n"
                f"basicConstraints=critical,CA:{'TRUE' if issuer is None else 'FALSE'}\n")
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{t.dir}/{name}.key",
            "-out", "request", "-subj", f"/CN={name}", cwd=folder)
    signed = ["-selfsign", "-keyfile", f"{t.dir}/{name}.key"] if issuer is None else \
        ["-cert", f"{t.dir}/{issuer}.pem", "-keyfile", f"{t.dir}/{issuer}.key"]
    openssl("ca", "-config", "conf", "-batch", "-notext", "-in", "request", "-out",
            f"{t.dir}/{name}.pem", "-startdate", begin, "-enddate", end, *signed, cwd=folder)
    return f"{t.dir}/{name}.pem"
