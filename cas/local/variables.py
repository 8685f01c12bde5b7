"""The variables of the environment that this program and its libraries read, and what each decides."""

from __future__ import annotations

from typing import NamedTuple


class Variable(NamedTuple):
    """A variable of the environment that this program or one of its libraries reads.

    Attributes:
        name: its name.
        decides: what it decides, in words.
        secret: whether its value is shown nowhere.
    """

    name: str
    decides: str
    secret: bool = False


_SECRET = (
    "CAS_HTTP_HEADER",
    "CAS_SERVE_TOKEN",
    "CAS_ATTEST_KEY",
    "CAS_SIGNING_KEY",
    "CAS_SIGNING_PASSPHRASE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
    "HF_TOKEN",
)

VARIABLES = tuple(
    Variable(name, decides, name in _SECRET)
    for name, decides in {
        "CAS_STORE": "the store, where --store does not name it",
        "CAS_CONFIG": "the configuration file, where it is not ~/.config/model-cas/config.toml",
        "S3_BUCKET": "the bucket of the store s3://$S3_BUCKET/cas, where neither --store nor CAS_STORE names one",
        "CAS_MODEL": "the version, where a command gets no REF",
        "CAS_LOCK": "the lock file to take instead",
        "CAS_DEPLOYMENT": "the deployment: whose pin to take, under which name receipts are kept",
        "RUNPOD_ENDPOINT_ID": "the same, where CAS_DEPLOYMENT is not set",
        "RUNPOD_POD_ID": "the pod that a receipt names",
        "RUNPOD_DC_ID": "the data center that a receipt names",
        "CAS_SEEDS": "folders to take bytes from instead of fetching them",
        "CAS_RECEIPT": "whether every restore keeps a receipt in the store",
        "CAS_PHASES": "the receipt that `cas.phase` adds to; `cas run --receipt` sets it for its command",
        "CAS_ATTEST_KEY": "the key, or the path of one, that signs what `cas attest` states",
        "CAS_LEASE_SECONDS": "seconds that others wait for somebody who stopped without a word",
        "CAS_HTTP_HEADER": "a header for a private https store",
        "NETRC": "the file of users and passwords of https stores; ~/.netrc",
        "CAS_SERVE_TOKEN": "what clients of `cas serve` must send, where --token does not say it",
        "CAS_READ_URL": "the cache through which a restore reads chunks and manifests",
        "CAS_TRUSTED_KEYS": "whose signatures count: public keys, their files or folders of them",
        "CAS_FLOOR": "the lowest number of an entry that counts, by ref: f5-tts:latest=42",
        "CAS_SIGNING_KEY": "the secret key that signs what moves a ref, or the path of its file",
        "CAS_SIGNING_PASSPHRASE": "its passphrase",
        "CAS_STORE_NAME": "what the store is called in signatures, where its URL is not its name",
        "AWS_ACCESS_KEY_ID": "the key; without it boto3's chain is asked",
        "AWS_SECRET_ACCESS_KEY": "its secret",
        "AWS_SESSION_TOKEN": "the token of a key that expires",
        "AWS_SKIP_SIGNATURE": "true: requests are not signed, for a public bucket",
        "AWS_NO_SIGN_REQUEST": "the same",
        "AWS_DEFAULT_PROFILE": "the profile in AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE",
        "AWS_PROFILE": "the same, where AWS_DEFAULT_PROFILE is not set",
        "AWS_CONFIG_FILE": "the file of profiles; ~/.aws/config",
        "AWS_SHARED_CREDENTIALS_FILE": "the file of keys; ~/.aws/credentials",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "for boto3's chain: the token of a service's account",
        "AWS_ROLE_ARN": "for boto3's chain: the role that the token is for",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "for boto3's chain: where a container of ECS asks for its key",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "for boto3's chain: where another container asks for its key",
        "AWS_EC2_METADATA_DISABLED": "true: boto3's chain does not ask the machine for its role",
        "AWS_ENDPOINT_URL_S3": "the server of anything but AWS",
        "AWS_ENDPOINT_URL": "the same, where AWS_ENDPOINT_URL_S3 is not set",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true: no endpoint counts, and AWS is asked",
        "AWS_REGION": "the region to sign for",
        "AWS_DEFAULT_REGION": "the same, where AWS_REGION is not set",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "whether the bucket is named in the host (true) or in the path (false)",
        "AWS_USE_FIPS_ENDPOINT": "true: AWS is asked at its FIPS endpoints",
        "AWS_USE_DUALSTACK_ENDPOINT": "true: AWS is asked at endpoints with IPv6",
        "AWS_CHECKSUM_ALGORITHM": "SHA256: every write carries a checksum; without it, only where the bucket wants one",
        "AWS_REQUEST_PAYER": "requester: the key's owner pays for requests",
        "AWS_SERVER_SIDE_ENCRYPTION": "how the server encrypts what is written: AES256, aws:kms or aws:kms:dsse",
        "AWS_SSE_KMS_KEY_ID": "the key of KMS that it encrypts with",
        "AWS_SSE_BUCKET_KEY_ENABLED": "whether it asks KMS once for many objects",
        "AWS_SSE_CUSTOMER_KEY_BASE64": "refused: this program cannot read what a customer's key encrypts",
        "AWS_S3_EXPRESS": "refused: directory buckets have other requests",
        "AZURE_STORAGE_CONNECTION_STRING": "an Azure storage account, with its key and endpoint",
        "AZURE_STORAGE_ACCOUNT": "the Azure storage account",
        "AZURE_STORAGE_ACCOUNT_NAME": "the same",
        "AZURE_STORAGE_KEY": "its key",
        "AZURE_STORAGE_ACCOUNT_KEY": "the same",
        "AZURE_STORAGE_ACCESS_KEY": "the same",
        "AZURE_STORAGE_SAS_TOKEN": "a token (SAS) in the key's place",
        "AZURE_STORAGE_SAS_KEY": "the same",
        "AZURE_STORAGE_ENDPOINT": "the URL of its blobs",
        "AZURE_STORAGE_SERVICE_ENDPOINT": "the same",
        "AZURE_SKIP_SIGNATURE": "true: requests carry no credential, for a public container",
        "GOOGLE_SERVICE_ACCOUNT": "the file of a key of Google Cloud Storage",
        "GOOGLE_SERVICE_ACCOUNT_PATH": "the same",
        "GOOGLE_APPLICATION_CREDENTIALS": "the same, or of another credential",
        "GOOGLE_SERVICE_ACCOUNT_KEY": "the key itself",
        "GOOGLE_BEARER_TOKEN": "a token in its place",
        "GOOGLE_BASE_URL": "the server of anything but Google",
        "GOOGLE_SKIP_SIGNATURE": "true: requests carry no credential, for a public bucket",
        "AWS_CA_BUNDLE": "a private certificate authority (PEM)",
        "REQUESTS_CA_BUNDLE": "the same, where AWS_CA_BUNDLE is not set",
        "CURL_CA_BUNDLE": "the same for the hub, where REQUESTS_CA_BUNDLE is not set",
        "SSL_CERT_FILE": "the authorities instead of the system's",
        "SSL_CERT_DIR": "a folder of them",
        "HTTPS_PROXY": "the proxy for https",
        "HTTP_PROXY": "the proxy for http",
        "ALL_PROXY": "the proxy for both",
        "NO_PROXY": "hosts that need no proxy",
        "HF_HOME": "where Hugging Face's clients keep what they have",
        "HF_HUB_CACHE": "the hub cache, which models are restored to",
        "HUGGINGFACE_HUB_CACHE": "the same, where HF_HUB_CACHE is not set",
        "TORCH_HOME": "where torch keeps what it has; set for a command",
        "TRANSFORMERS_CACHE": "another hub cache for transformers 4; set for a command where it is set",
        "PYTORCH_TRANSFORMERS_CACHE": "the same",
        "PYTORCH_PRETRAINED_BERT_CACHE": "the same",
        "SENTENCE_TRANSFORMERS_HOME": "the same for sentence-transformers",
        "HF_ENDPOINT": "the hub that `cas publish` downloads from",
        "HF_TOKEN": "the key to it",
        "HF_HUB_OFFLINE": "1: the hub is not asked",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "where traces of publishes and restores are sent, with the extra otel",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "the same, as the whole URL",
        "OTEL_SDK_DISABLED": "true: no traces are sent",
        "OTEL_TRACES_EXPORTER": "none: the same",
        "OTEL_SERVICE_NAME": "what traces call this program; model-cas",
        "OTEL_RESOURCE_ATTRIBUTES": "what else they say of it",
        "TRACEPARENT": "the span that a trace continues",
        "TRACESTATE": "what its system keeps with it",
        "XDG_CACHE_HOME": "where ~/.cache is",
        "XDG_CONFIG_HOME": "where ~/.config is, which holds the configuration file and the keys that `cas trust` adds",
        "XDG_DATA_HOME": "where ~/.local/share is, which holds the store that nothing names",
    }.items()
)  # fmt: skip
"""Every variable that this program or a library of its own reads, in the order in which `cas info` shows them."""
