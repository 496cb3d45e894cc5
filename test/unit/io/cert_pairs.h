/* Made with the openssl program for test/unit/io/cert.c; keys of no worth. reef (reef.example and
 * *.reef.example) and other are signed by authority; valid from 2026-01-01 to 2026-04-01. */
#pragma once

/* clang-format off */
static const char authority_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBXDCCAQKgAwIBAgIULWn0eB1JLT3slLrhAPH99ZKMJycwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJYXV0aG9yaXR5MB4XDTIwMDEwMTAwMDAwMFoXDTQwMDEwMTAw\n"
    "MDAwMFowFDESMBAGA1UEAwwJYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
    "AQcDQgAE574WPrkfaK9sRX2KxTnk7n46YtM4UDY7GInDStoD/Ijw7frT58fs+Uvs\n"
    "9D1a3uyvf+T2v79+7lLNOfFuddn0LqMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNV\n"
    "HQ4EFgQU6STeoBZ4d4q6Azx1QLjGHDVaqzMwCgYIKoZIzj0EAwIDSAAwRQIgTdQx\n"
    "IL1nD/s93FtMDwxN2WhHKCfj2+HYYU6fOAq9NkUCIQDdlmgKr33XXW1UoxEkVw7A\n"
    "ajouzfFdDSxmXjl7s75F2A==\n"
    "-----END CERTIFICATE-----\n";
static const char reef_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBnjCCAUSgAwIBAgIUAJe+Y8I1ZsJ5ZPBo+iTXGho5/rEwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJYXV0aG9yaXR5MB4XDTI2MDEwMTAwMDAwMFoXDTI2MDQwMTAw\n"
    "MDAwMFowDzENMAsGA1UEAwwEcmVlZjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\n"
    "BA/5JeAd7BleV3PwnHEc1TRo50H8MJg4bK168E/BHYHTM35nzQnPbBYGwkng6ReJ\n"
    "5sqz4vhkOMXyM88zVPjM9USjeTB3MCcGA1UdEQQgMB6CDHJlZWYuZXhhbXBsZYIO\n"
    "Ki5yZWVmLmV4YW1wbGUwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUnfpBqLCzv1nN\n"
    "xrMBWZ+U4pFFrTkwHwYDVR0jBBgwFoAU6STeoBZ4d4q6Azx1QLjGHDVaqzMwCgYI\n"
    "KoZIzj0EAwIDSAAwRQIhAJWxV2wwDdXRx8Tv7+QeQrnJYv4hT7vlHNp3OxljBAYT\n"
    "AiB6Njt0iWJIvncX0dY2t+D2mfS/IztrYraUtW68GytqHg==\n"
    "-----END CERTIFICATE-----\n";
static const char other_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBkDCCATagAwIBAgIUFbEkilbeXbdLwyE+u0VASCVsLqswCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJYXV0aG9yaXR5MB4XDTI2MDEwMTAwMDAwMFoXDTI2MDQwMTAw\n"
    "MDAwMFowEDEOMAwGA1UEAwwFb3RoZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n"
    "AARZ5L3GhnLR9OwI9n5DvycmSqblpVavh8+ZfBP+SPU/uerpOYTjpQAroab/gqAw\n"
    "0NoE8OFOhpIyd9K4LALZnz/7o2owaDAYBgNVHREEETAPgg1vdGhlci5leGFtcGxl\n"
    "MAwGA1UdEwEB/wQCMAAwHQYDVR0OBBYEFF0c/9Sh+QI2hSp4HzIUdbTpryU/MB8G\n"
    "A1UdIwQYMBaAFOkk3qAWeHeKugM8dUC4xhw1WqszMAoGCCqGSM49BAMCA0gAMEUC\n"
    "IQCbrXNSQHKP+s4X/Gm0D04U7AwCjymy15CDiXy/BkruNgIgeeBW746KycYecEdm\n"
    "fjueHp2PPoBCmD7RWbgbVcDkdcI=\n"
    "-----END CERTIFICATE-----\n";
static const char reef_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZi464UlvWxJtDrtl\n"
    "9SfoIt5yicBlV8zS3jtZXE7AskehRANCAAQP+SXgHewZXldz8JxxHNU0aOdB/DCY\n"
    "OGytevBPwR2B0zN+Z80Jz2wWBsJJ4OkXiebKs+L4ZDjF8jPPM1T4zPVE\n"
    "-----END PRIVATE KEY-----\n";
static const char locked_key[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj2yRg0b7iYPwICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEOpupPDNg/bB4I/pypMSLRwEgZCS\n"
    "Ww0xn7mqIRgrh8oVQPIA94MUh3cdio+sMnbChnLNK5oWohNsMW23603/IFC5TVxj\n"
    "W3QUKu9on2EIb6UWOmlbfLthFcIkY/KNq7nJFUcND5upyhgFij3JVPaPUeqblgGu\n"
    "m/tSAIkQ6EzFZNasPp1LJf2ake1F1cqg/4G59UndBqll/Z+wdj0AtufZVxVXkDQ=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";
static const char other_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgu4eJW/XdAQ0HrlrP\n"
    "5JveeCoLVfx1C6Ej3HLW4xn0ZjChRANCAARZ5L3GhnLR9OwI9n5DvycmSqblpVav\n"
    "h8+ZfBP+SPU/uerpOYTjpQAroab/gqAw0NoE8OFOhpIyd9K4LALZnz/7\n"
    "-----END PRIVATE KEY-----\n";
/* clang-format on */
