#!/usr/bin/env python3
"""Walks the sandbox's Secrets Manager with boto3, a client that is not ours, and asserts what AWS documents.

    secrets_manager.py http://127.0.0.1:7701 http://127.0.0.1:7709 [--region eu-central-1] [--access-key AKIDEXAMPLE]

Needs boto3. The sandbox must run without faults, quotas and deny list. Every run uses new names, so it
can be repeated. The last line is `N passed, M failed`; the exit code is 1 if anything failed.
"""

import argparse
import datetime
import json
import time
import traceback
import urllib.error
import urllib.request
import uuid

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

options = argparse.ArgumentParser()
options.add_argument("endpoint")
options.add_argument("sts_endpoint")
options.add_argument("--region", default="eu-central-1")
options.add_argument("--access-key", default="AKIDEXAMPLE")
options = options.parse_args()


def client(service, region=options.region):
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=options.sts_endpoint if service == "sts" else options.endpoint,
        aws_access_key_id=options.access_key,
        aws_secret_access_key="whatever",
        config=Config(retries={"max_attempts": 1}, parameter_validation=False),
    )


sm = client("secretsmanager")
run = uuid.uuid4().hex[:12]
cases = []


def case(test):
    cases.append(test)
    return test


def token():
    return str(uuid.uuid4())


def named(name):
    return f"foreign/{run}/{name}"


def create(name, value="one", **fields):
    return sm.create_secret(Name=named(name), SecretString=value, ClientRequestToken=token(), **fields)


def put(name, value, **fields):
    fields.setdefault("ClientRequestToken", token())
    return sm.put_secret_value(SecretId=named(name), SecretString=value, **fields)["VersionId"]


def labels(name):
    """The versions' labels: {version: [labels]}."""
    return sm.describe_secret(SecretId=named(name)).get("VersionIdsToStages", {})


def refused(code, call, *args, text="", **fields):
    try:
        answer = call(*args, **fields)
    except ClientError as error:
        seen = error.response["Error"]
        assert seen["Code"] == code, f"{seen} instead of {code}"
        assert text in seen["Message"], f"{seen['Message']!r} lacks {text!r}"
        return
    raise AssertionError(f"accepted instead of {code}: {answer}")


def raw(target, body, shift=0, sign=True, content_type="application/x-amz-json-1.1"):
    """A request by hand: (status, code or None, headers)."""
    headers = {"Content-Type": content_type, "X-Amz-Target": f"secretsmanager.{target}"}
    request = AWSRequest("POST", options.endpoint + "/", data=json.dumps(body).encode(), headers=headers)
    if sign:
        signer = SigV4Auth(Credentials(options.access_key, "whatever"), "secretsmanager", options.region)
        signer.add_auth(request)
        if shift:
            # The signature's bytes are not checked, its date is.
            moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=shift)
            old = request.headers["X-Amz-Date"]
            del request.headers["X-Amz-Date"]
            request.headers["X-Amz-Date"] = moment.strftime("%Y%m%dT%H%M%SZ")
            changed = request.headers["Authorization"].replace(old[:8], moment.strftime("%Y%m%d"))
            del request.headers["Authorization"]
            request.headers["Authorization"] = changed
    call = urllib.request.Request(options.endpoint + "/", request.body, dict(request.headers.items()))
    try:
        with urllib.request.urlopen(call) as answer:
            return answer.status, None, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["__type"], error.headers


@case
def who_am_i():
    identity = client("sts").get_caller_identity()
    assert identity["Account"] == "111122223333"
    assert identity["Arn"] == f"arn:aws:iam::111122223333:user/{options.access_key}"


@case
def create_and_read():
    made = create("read", Description="d", Tags=[{"Key": "a", "Value": "b"}])
    assert made["ARN"].startswith(f"arn:aws:secretsmanager:{options.region}:111122223333:secret:{named('read')}-")
    assert len(made["ARN"].rsplit("-", 1)[1]) == 6
    for secret_id in (named("read"), made["ARN"], made["ARN"][:-7]):
        value = sm.get_secret_value(SecretId=secret_id)
        assert (value["SecretString"], value["VersionId"]) == ("one", made["VersionId"])
        assert value["VersionStages"] == ["AWSCURRENT"]
    shown = sm.describe_secret(SecretId=made["ARN"])
    assert shown["Description"] == "d" and shown["Tags"] == [{"Key": "a", "Value": "b"}]
    assert shown["LastAccessedDate"].astimezone(datetime.timezone.utc).time() == datetime.time(0)
    for absent in ("KmsKeyId", "DeletedDate", "RotationEnabled", "OwningService", "Type"):
        assert absent not in shown


@case
def binary_values():
    sm.create_secret(Name=named("binary"), SecretBinary=b"\x00\xff")
    value = sm.get_secret_value(SecretId=named("binary"))
    assert value["SecretBinary"] == b"\x00\xff" and "SecretString" not in value


@case
def a_secret_without_value_has_no_version():
    made = sm.create_secret(Name=named("empty"))
    assert "VersionId" not in made and labels("empty") == {}
    refused("ResourceNotFoundException", sm.get_secret_value, SecretId=named("empty"), text="AWSCURRENT")


@case
def the_first_version_is_published_whatever_is_asked():
    sm.create_secret(Name=named("first"))
    version = put("first", "x", VersionStages=["AWSPENDING"])
    assert labels("first") == {version: ["AWSCURRENT", "AWSPENDING"]}


@case
def a_put_without_stages_publishes():
    one = create("plain")["VersionId"]
    two = put("plain", "two")
    assert labels("plain") == {one: ["AWSPREVIOUS"], two: ["AWSCURRENT"]}
    three = put("plain", "three")
    assert labels("plain") == {two: ["AWSPREVIOUS"], three: ["AWSCURRENT"]}


@case
def pending_then_promotion_by_swap():
    one = create("swap")["VersionId"]
    two = put("swap", "two", VersionStages=["AWSPENDING", "mine"])
    assert labels("swap") == {one: ["AWSCURRENT"], two: ["AWSPENDING", "mine"]}

    def promote(**fields):
        return sm.update_secret_version_stage(SecretId=named("swap"), VersionStage="AWSCURRENT", **fields)

    refused("InvalidParameterException", promote, MoveToVersionId=two)
    refused("InvalidParameterException", promote, MoveToVersionId=two, RemoveFromVersionId=two)
    refused("InvalidParameterException", promote, RemoveFromVersionId=one, text="It can't be completely removed.")
    refused("ResourceNotFoundException", promote, MoveToVersionId=token(), RemoveFromVersionId=one)
    assert labels("swap") == {one: ["AWSCURRENT"], two: ["AWSPENDING", "mine"]}
    promote(MoveToVersionId=two, RemoveFromVersionId=one)
    assert labels("swap") == {one: ["AWSPREVIOUS"], two: ["AWSCURRENT", "AWSPENDING", "mine"]}
    assert sm.get_secret_value(SecretId=named("swap"))["SecretString"] == "two"
    batch = sm.batch_get_secret_value(SecretIdList=[named("swap")])
    assert batch["SecretValues"][0]["SecretString"] == "two"
    refused("InvalidParameterException", promote, MoveToVersionId=two, RemoveFromVersionId=one)
    for label in ("AWSPENDING", "mine"):
        sm.update_secret_version_stage(SecretId=named("swap"), VersionStage=label, RemoveFromVersionId=two)
    three = put("swap", "three")
    assert labels("swap") == {two: ["AWSPREVIOUS"], three: ["AWSCURRENT"]}


@case
def a_token_is_good_for_one_value():
    create_token = token()
    fields = {"Name": named("token"), "ClientRequestToken": create_token}
    made = sm.create_secret(SecretString="one", **fields)
    again = sm.create_secret(SecretString="one", **fields)
    assert again["ARN"] == made["ARN"] and again["VersionId"] == create_token
    refused("ResourceExistsException", sm.create_secret, SecretString="other", **fields)
    refused("ResourceExistsException", create, "token")
    second = put("token", "two", VersionStages=["AWSPENDING"])
    put("token", "two", ClientRequestToken=second)
    assert labels("token") == {create_token: ["AWSCURRENT"], second: ["AWSPENDING"]}
    refused("ResourceExistsException", put, "token", "three", ClientRequestToken=second, VersionStages=["AWSPENDING"])
    assert sm.get_secret_value(SecretId=named("token"), VersionId=second)["SecretString"] == "two"
    body = {"SecretId": named("token"), "SecretString": "x"}
    assert raw("PutSecretValue", body)[:2] == (400, "InvalidRequestException")


@case
def selectors_must_agree():
    one = create("selectors")["VersionId"]
    two = put("selectors", "two", VersionStages=["AWSPENDING"])
    read = lambda **fields: sm.get_secret_value(SecretId=named("selectors"), **fields)
    assert read(VersionId=two, VersionStage="AWSPENDING")["SecretString"] == "two"
    refused("InvalidRequestException", read, VersionId=one, VersionStage="AWSPENDING", text="not associated")
    refused("ResourceNotFoundException", read, VersionId=token())
    refused("ResourceNotFoundException", read, VersionStage="NOBODY", text="NOBODY")


@case
def versions_without_labels_are_deprecated():
    one = create("versions")["VersionId"]
    two = put("versions", "two", VersionStages=["mine"])
    three = put("versions", "three", VersionStages=["mine"])
    ids = lambda **fields: {
        version["VersionId"]: version.get("VersionStages", [])
        for version in sm.list_secret_version_ids(SecretId=named("versions"), **fields)["Versions"]
    }
    assert ids() == {one: ["AWSCURRENT"], three: ["mine"]} == labels("versions")
    assert ids(IncludeDeprecated=True) == {one: ["AWSCURRENT"], two: [], three: ["mine"]}
    assert sm.get_secret_value(SecretId=named("versions"), VersionId=two)["SecretString"] == "two"
    page = sm.list_secret_version_ids(SecretId=named("versions"), MaxResults=1)
    assert page["Versions"][0]["KmsKeyIds"] == ["DefaultEncryptionKey"]
    rest = sm.list_secret_version_ids(SecretId=named("versions"), MaxResults=1, NextToken=page["NextToken"])
    assert len(rest["Versions"]) == 1 and "NextToken" not in rest
    garbage = dict(SecretId=named("versions"), NextToken="garbage")
    refused("InvalidNextTokenException", sm.list_secret_version_ids, **garbage)


@case
def limits():
    create("limits")
    put("limits", "x" * 65_536)
    for value in ("", "x" * 65_537):
        refused("ValidationException", put, "limits", value)
    refused("ValidationException", sm.create_secret, Name="no spaces")
    refused("ValidationException", sm.describe_secret, SecretId="no spaces", text="-/_+=.@!")
    refused("ValidationException", sm.create_secret, Name="n" * 513)
    refused("InvalidParameterException", put, "limits", "x", ClientRequestToken="short")
    refused("ValidationException", put, "limits", "x", VersionStages=[])
    twenty = [f"l{n}" for n in range(20)]
    refused("LimitExceededException", put, "limits", "x", VersionStages=twenty)
    many = [{"Key": f"k{n}", "Value": ""} for n in range(51)]
    refused("InvalidParameterException", sm.tag_resource, SecretId=named("limits"), Tags=many)
    reserved = [{"Key": "aws:x", "Value": ""}]
    refused("InvalidParameterException", sm.tag_resource, SecretId=named("limits"), Tags=reserved)
    for count in (0, 101):
        refused("ValidationException", sm.list_secrets, MaxResults=count)
    refused("ValidationException", sm.batch_get_secret_value, SecretIdList=["x"] * 21)


@case
def tags_merge_and_go():
    create("tags")
    assert "Tags" not in sm.describe_secret(SecretId=named("tags"))
    sm.tag_resource(SecretId=named("tags"), Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    sm.tag_resource(SecretId=named("tags"), Tags=[{"Key": "b", "Value": "3"}])
    tags = sm.describe_secret(SecretId=named("tags"))["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "3"}
    sm.untag_resource(SecretId=named("tags"), TagKeys=["a", "b", "absent"])
    assert sm.describe_secret(SecretId=named("tags"))["Tags"] == []


@case
def description_and_key_change():
    create("update")
    sm.update_secret(SecretId=named("update"), Description="new", KmsKeyId="alias/mine")
    shown = sm.describe_secret(SecretId=named("update"))
    assert (shown["Description"], shown["KmsKeyId"]) == ("new", "alias/mine")
    version = sm.update_secret(SecretId=named("update"), SecretString="two")["VersionId"]
    assert labels("update")[version] == ["AWSCURRENT"]
    repeated = {"SecretId": named("update"), "SecretString": "two", "ClientRequestToken": version}
    refused("ResourceExistsException", sm.update_secret, **repeated)


@case
def lists_and_filters():
    for name, key in (("list/a", f"{run}:x"), ("list/b", f"{run}:y"), ("list/c", "other")):
        create(name, Description=f"Words about {name[-1]}{run}", Tags=[{"Key": key, "Value": "v"}])

    def names(*filters, **fields):
        filters = [{"Key": key, "Values": values} for key, values in filters]
        pages = sm.get_paginator("list_secrets").paginate(
            Filters=filters, PaginationConfig={"PageSize": 2}, **fields
        )
        return [entry["Name"].rsplit("/", 1)[1] for page in pages for entry in page["SecretList"]]

    here = ("name", [named("list/")])
    assert names(here) == ["a", "b", "c"]
    assert names(here, SortBy="name", SortOrder="desc") == ["c", "b", "a"]
    assert names(("name", [named("LIST/")])) == []
    assert names(here, ("tag-key", [run])) == ["a", "b"]
    assert names(here, ("tag-key", [f"!{run}"])) == ["c"]
    assert names(here, ("description", [f"WORDS b{run}"])) == ["b"]
    assert names(("all", [f"a{run}"])) == ["a"]
    assert names(here, ("name", [named("list/a"), named("list/c")])) == ["a", "c"]
    refused("ValidationException", sm.list_secrets, Filters=[{"Key": "nothing", "Values": ["x"]}])
    refused("InvalidNextTokenException", sm.list_secrets, NextToken="garbage")
    entry = sm.list_secrets(Filters=[{"Key": "name", "Values": [named("list/a")]}])["SecretList"][0]
    assert list(entry["SecretVersionsToStages"].values()) == [["AWSCURRENT"]]
    batch = sm.batch_get_secret_value(Filters=[{"Key": "name", "Values": [named("list/")]}], MaxResults=2)
    assert len(batch["SecretValues"]) == 2 and batch["NextToken"]
    mixed = sm.batch_get_secret_value(SecretIdList=[named("list/a"), named("nobody")])
    assert len(mixed["SecretValues"]) == 1
    assert mixed["Errors"][0]["ErrorCode"] == "ResourceNotFoundException"
    refused("InvalidParameterException", sm.batch_get_secret_value)


@case
def scheduled_deletion_and_restore():
    version = create("delete")["VersionId"]
    secret_id = {"SecretId": named("delete")}
    for days in (6, 31):
        refused("InvalidParameterException", sm.delete_secret, RecoveryWindowInDays=days, **secret_id)
    both = dict(RecoveryWindowInDays=7, ForceDeleteWithoutRecovery=True)
    refused("InvalidParameterException", sm.delete_secret, **both, **secret_id)
    sm.delete_secret(RecoveryWindowInDays=7, **secret_id)
    marked = "because it was marked for deletion."
    for call, fields in (
        (sm.get_secret_value, {}),
        (sm.put_secret_value, {"SecretString": "x"}),
        (sm.tag_resource, {"Tags": [{"Key": "a", "Value": "b"}]}),
        (sm.untag_resource, {"TagKeys": ["a"]}),
        (sm.update_secret_version_stage, {"VersionStage": "x", "MoveToVersionId": version}),
    ):
        refused("InvalidRequestException", call, **fields, **secret_id, text=marked)
    refused("InvalidRequestException", create, "delete", text="already scheduled for deletion.")
    assert "DeletedDate" in sm.describe_secret(**secret_id)
    listed = dict(Filters=[{"Key": "name", "Values": [named("delete")]}])
    assert sm.list_secrets(**listed)["SecretList"] == []
    assert len(sm.list_secrets(IncludePlannedDeletion=True, **listed)["SecretList"]) == 1
    sm.restore_secret(**secret_id)
    assert sm.get_secret_value(**secret_id)["SecretString"] == "one"


@case
def forced_deletion():
    first = create("force")["ARN"]
    for _ in range(2):
        sm.delete_secret(SecretId=named("force"), ForceDeleteWithoutRecovery=True)
    refused("ResourceNotFoundException", sm.describe_secret, SecretId=named("force"))
    for attempt in range(40):
        try:
            assert create("force")["ARN"] != first
            return
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InvalidRequestException", error
            time.sleep(0.5)
    raise AssertionError("the name never came free")


@case
def policies():
    create("policy")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    public = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    secret_id = {"SecretId": named("policy")}
    refused("PublicPolicyException", sm.put_resource_policy, ResourcePolicy=public, BlockPublicPolicy=True, **secret_id)
    refused("MalformedPolicyDocumentException", sm.put_resource_policy, ResourcePolicy="{", **secret_id)
    sm.put_resource_policy(ResourcePolicy=public, **secret_id)
    assert sm.get_resource_policy(**secret_id)["ResourcePolicy"] == public
    assert not sm.validate_resource_policy(ResourcePolicy=public)["PolicyValidationPassed"]
    sm.delete_resource_policy(**secret_id)
    assert "ResourcePolicy" not in sm.get_resource_policy(**secret_id)


@case
def passwords():
    assert len(sm.get_random_password()["RandomPassword"]) == 32
    only = sm.get_random_password(PasswordLength=10, ExcludePunctuation=True, ExcludeLowercase=True, ExcludeUppercase=True)
    assert only["RandomPassword"].isdigit()


@case
def regions_are_apart():
    create("region")
    other = client("secretsmanager", "us-east-1" if options.region != "us-east-1" else "eu-west-1")
    refused("ResourceNotFoundException", other.describe_secret, SecretId=named("region"))


@case
def what_the_sandbox_does_not_do():
    create("not")
    refused("InvalidRequestException", sm.rotate_secret, SecretId=named("not"))
    regions = [{"Region": "us-east-1"}]
    refused("InvalidRequestException", sm.replicate_secret_to_regions, SecretId=named("not"), AddReplicaRegions=regions)


@case
def signatures_and_headers():
    status, code, headers = raw("ListSecrets", {})
    assert (status, code) == (200, None) and headers["x-amzn-RequestId"] and headers["Date"]
    for shift in (-400, 400):
        assert raw("ListSecrets", {}, shift=shift)[:2] == (400, "InvalidSignatureException")
    assert raw("ListSecrets", {}, shift=200)[:2] == (200, None)
    assert raw("ListSecrets", {}, sign=False)[1] == "MissingAuthenticationTokenException"
    assert raw("NoSuchCall", {})[1] == "UnknownOperationException"
    assert raw("ListSecrets", {"MaxResults": "ten"})[1] == "SerializationException"
    assert raw("ListSecrets", {"Unknown": 1})[:2] == (200, None)


passed, failed = 0, 0
for test in cases:
    try:
        test()
        passed += 1
        print(f"ok      {test.__name__}")
    except Exception:  # every case must be run and reported
        failed += 1
        print(f"FAILED  {test.__name__}\n{traceback.format_exc()}")
print(f"{passed} passed, {failed} failed")
raise SystemExit(1 if failed else 0)
